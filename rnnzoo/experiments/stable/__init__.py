"""The experiments on *Stable Recurrent Models*; each file is one, and its path is the ID."""
