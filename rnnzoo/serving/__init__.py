"""What stands around an exported model when it is served."""
