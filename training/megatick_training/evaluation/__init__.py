"""How good a model is: measures, tests, and the traps that would flatter it."""
