"""What one node is: its handle, its items, its commit."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.node import init, item_io
    from cvcache.node.cachedir import CacheDir
    from cvcache.node.commit import Commit
    from cvcache.node.context import TreeContext
    from cvcache.node.copy_node import copy_items_into
    from cvcache.node.init import check_on_stale, resolve_relative
    from cvcache.node.items import Item
    from cvcache.node.nocache import NoCache

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["init", "item_io"],
    submod_attrs={
        "cachedir": ["CacheDir"],
        "commit": ["Commit"],
        "context": ["TreeContext"],
        "copy_node": ["copy_items_into"],
        "init": ["check_on_stale", "resolve_relative"],
        "items": ["Item"],
        "nocache": ["NoCache"],
    },
)
