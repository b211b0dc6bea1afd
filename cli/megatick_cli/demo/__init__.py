"""The whole journey on the default model: ``megatick demo``."""
