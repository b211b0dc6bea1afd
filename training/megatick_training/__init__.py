"""What makes the models that are served: the default model, its head, the forecaster."""
