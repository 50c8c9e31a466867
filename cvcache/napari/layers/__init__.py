"""Layers of the viewer: added, watched, and prefetched."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.napari.layers import adder, prefetch, watcher
    from cvcache.napari.layers.adder import Adder
    from cvcache.napari.layers.prefetch import PrefetchedArray, prefetch_planes
    from cvcache.napari.layers.viewport import Viewport, VisiblePixels

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["adder", "prefetch", "watcher"],
    submod_attrs={
        "adder": ["Adder"],
        "prefetch": ["PrefetchedArray", "prefetch_planes"],
        "viewport": ["Viewport", "VisiblePixels"],
    },
)
