"""Functions and classes by their code."""
