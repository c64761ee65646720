"""How `rnnzoo.certificates` bounds and rewrites a model: private to the package."""
