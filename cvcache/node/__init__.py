"""What one node is: its handle, its items, its commit."""
