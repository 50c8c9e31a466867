"""Images that are made: all levels in one pass."""
