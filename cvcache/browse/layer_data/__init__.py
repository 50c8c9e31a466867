"""Items as napari layer data."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.browse.layer_data.images import layer_item_path
    from cvcache.browse.layer_data.layers import LayerData, cost, layers, with_contrast
    from cvcache.browse.layer_data.settings import COLORMAPS, UNITS, saved_settings

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "images": ["layer_item_path"],
        "layers": ["LayerData", "cost", "layers", "with_contrast"],
        "settings": ["COLORMAPS", "UNITS", "saved_settings"],
    },
)
