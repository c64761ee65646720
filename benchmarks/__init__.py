"""How fast rnnzoo is, measured against its peers in one run; see README.md in this folder."""
