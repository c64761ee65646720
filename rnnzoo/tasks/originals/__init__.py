"""The original files of the data sets: where they are from, fetching and verifying them."""
