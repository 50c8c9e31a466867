"""Layers: added, watched, read ahead."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.napari.layers import adder, prefetch, watcher
    from cvcache.napari.layers.adder import Adder
    from cvcache.napari.layers.prefetch import Ahead, read_ahead
    from cvcache.napari.layers.viewport import Frame, View

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["adder", "prefetch", "watcher"],
    submod_attrs={
        "adder": ["Adder"],
        "prefetch": ["Ahead", "read_ahead"],
        "viewport": ["Frame", "View"],
    },
)
