"""The plugin for napari: the tree in a dock, and layers of what it holds."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.napari import reader, sample
    from cvcache.napari.decode import MOST_SIDE, decode
    from cvcache.napari.icons import KINDS, SIZES, action_icon, kind_icon, state_icon
    from cvcache.napari.jobs import AT_ONCE, MOST_THREADS, Jobs
    from cvcache.napari.reader import DEMO, SCHEMES, get_reader, image_layers, is_image, read, show_tree
    from cvcache.napari.settings import Settings, background_loading, set_background_loading, settings, tolerant

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["reader", "sample"],
    submod_attrs={
        "decode": ["MOST_SIDE", "decode"],
        "icons": ["KINDS", "SIZES", "action_icon", "kind_icon", "state_icon"],
        "jobs": ["AT_ONCE", "Jobs", "MOST_THREADS"],
        "reader": ["DEMO", "SCHEMES", "get_reader", "image_layers", "is_image", "read", "show_tree"],
        "settings": ["Settings", "background_loading", "set_background_loading", "settings", "tolerant"],
    },
)
