"""One zarr array: its metadata, its chunks, and the zip that may hold it."""
