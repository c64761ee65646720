"""The parts of `rnnzoo.export`: signatures with and without states, and the check."""
