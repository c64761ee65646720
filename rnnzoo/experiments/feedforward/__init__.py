"""The experiments on the feed-forward essay; each file is one, and its path is the ID."""
