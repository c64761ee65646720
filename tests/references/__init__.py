"""Independent NumPy computations, in float64, that the recurrences must equal."""
