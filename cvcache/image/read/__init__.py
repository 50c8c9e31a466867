"""Images that are there: ours, and those of others."""
