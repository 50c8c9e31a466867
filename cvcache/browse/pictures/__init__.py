"""Thumbnails and plots, checked before they are drawn."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.browse.pictures.pictures import has_picture, picture, thumbnail
    from cvcache.browse.pictures.png import MAX_BYTES, MAX_PIXELS, Picture, Refused, check_png

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "pictures": ["has_picture", "picture", "thumbnail"],
        "png": ["MAX_BYTES", "MAX_PIXELS", "Picture", "Refused", "check_png"],
    },
)
