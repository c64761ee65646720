"""The experiments on h-detach; each file is one, and its path is the ID."""
