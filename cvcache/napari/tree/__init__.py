"""The tree of the dock."""
