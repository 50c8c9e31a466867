"""What a result was made from: a value becomes canonical JSON, and that a digest."""
