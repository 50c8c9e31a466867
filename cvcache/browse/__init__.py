"""The tree for people: rows, previews and layer data, read as they are looked at. No Qt, no napari."""
