"""The plugin for napari: the tree in a dock, and layers of what it holds."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.napari import reader, sample
    from cvcache.napari.decode import MAX_SIDE_LENGTH, decode_picture
    from cvcache.napari.icons import KINDS, SIZES, action_icon, kind_icon, state_icon
    from cvcache.napari.jobs import CONCURRENCY, MAX_THREADS, Jobs
    from cvcache.napari.reader import (
        DEMO_URL,
        REMOTE_SCHEMES,
        get_reader,
        is_image_url,
        layers_of_url,
        read_paths,
        show_tree,
    )
    from cvcache.napari.settings import (
        Settings,
        background_loading,
        plugin_settings,
        set_background_loading,
        settings_from_values,
    )

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["reader", "sample"],
    submod_attrs={
        "decode": ["MAX_SIDE_LENGTH", "decode_picture"],
        "icons": ["KINDS", "SIZES", "action_icon", "kind_icon", "state_icon"],
        "jobs": ["CONCURRENCY", "MAX_THREADS", "Jobs"],
        "reader": [
            "DEMO_URL",
            "REMOTE_SCHEMES",
            "get_reader",
            "is_image_url",
            "layers_of_url",
            "read_paths",
            "show_tree",
        ],
        "settings": [
            "Settings",
            "background_loading",
            "plugin_settings",
            "set_background_loading",
            "settings_from_values",
        ],
    },
)
