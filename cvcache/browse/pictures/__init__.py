"""Thumbnails and plots, checked before anything of them is drawn."""
