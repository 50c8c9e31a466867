"""What one does with many nodes: steps, plans, walks, copies, checks."""
