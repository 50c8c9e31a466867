"""What a step says: what it logs and prints, on whichever thread or worker, as an item of its node."""
