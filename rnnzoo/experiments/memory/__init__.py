"""The experiments on the curse of memory; each file is one, and its path is the ID."""
