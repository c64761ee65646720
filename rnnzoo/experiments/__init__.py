"""What the papers show, run again: one file for each experiment."""
