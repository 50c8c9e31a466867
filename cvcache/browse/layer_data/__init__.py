"""Items as napari layer data."""
