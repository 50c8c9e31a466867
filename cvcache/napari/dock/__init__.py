"""The dock: address bar, actions, status line, and the window around it."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.napari.dock.actions import BAR_ACTIONS
    from cvcache.napari.dock.address_bar import MAX_HISTORY, AddressBar, History
    from cvcache.napari.dock.confirm import question_box
    from cvcache.napari.dock.dock import CacheTree
    from cvcache.napari.dock.storage_options import OptionsDialog, RememberedOptions, bucket_of

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "actions": ["BAR_ACTIONS"],
        "address_bar": ["MAX_HISTORY", "AddressBar", "History"],
        "confirm": ["question_box"],
        "dock": ["CacheTree"],
        "storage_options": ["OptionsDialog", "RememberedOptions", "bucket_of"],
    },
)
