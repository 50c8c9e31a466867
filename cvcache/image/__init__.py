"""Images as OME-Zarr: written with all their levels in one pass, read lazily, by whomever they were written."""
