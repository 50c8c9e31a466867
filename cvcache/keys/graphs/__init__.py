"""Dask collections by what they would compute."""
