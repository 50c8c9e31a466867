"""What one node is: its address, a snapshot of it, its items, its commit; and steps, which fill it."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.node import item_io
    from cvcache.node.address import Address, Handle, TreeContext, address_of, is_handle
    from cvcache.node.cachedir import CacheDir, Item
    from cvcache.node.commit import Commit
    from cvcache.node.copy_node import copy_items_into
    from cvcache.node.finish import release_node
    from cvcache.node.init import current_state, open_node, process_planners, read_snapshot
    from cvcache.node.plan import plan
    from cvcache.node.snapshot import Snapshot, snapshot_of
    from cvcache.node.step import AsyncStep, Step

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["item_io"],
    submod_attrs={
        "address": ["Address", "Handle", "TreeContext", "address_of", "is_handle"],
        "cachedir": ["CacheDir", "Item"],
        "commit": ["Commit"],
        "copy_node": ["copy_items_into"],
        "finish": ["release_node"],
        "init": ["current_state", "open_node", "process_planners", "read_snapshot"],
        "plan": ["plan"],
        "snapshot": ["Snapshot", "snapshot_of"],
        "step": ["AsyncStep", "Step"],
    },
)
