"""How `rnnzoo.streaming` rewires a model: private to the package."""
