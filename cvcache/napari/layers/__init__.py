"""Layers: added, watched, read ahead."""
