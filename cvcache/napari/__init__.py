"""The plugin for napari: the tree in a dock, and layers of what it holds."""
