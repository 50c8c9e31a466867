"""What one does with many nodes: steps, plans, walks, copies, checks."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.tree.api import cdir, cdir_commit, cdir_init, cdir_query, resolve_address
    from cvcache.tree.copy_tree import cdir_copy
    from cvcache.tree.run_script import run_script
    from cvcache.tree.step import step
    from cvcache.tree.verify import Damage, cdir_verify
    from cvcache.tree.walk import (
        WALK_CONCURRENCY,
        TreeEntry,
        cdir_remove,
        cdir_walk,
        directory_state,
        read_tree,
        state_of_listing,
    )

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "api": ["cdir", "cdir_commit", "cdir_init", "cdir_query", "resolve_address"],
        "copy_tree": ["cdir_copy"],
        "run_script": ["run_script"],
        "step": ["step"],
        "verify": ["Damage", "cdir_verify"],
        "walk": [
            "WALK_CONCURRENCY",
            "TreeEntry",
            "cdir_remove",
            "cdir_walk",
            "directory_state",
            "read_tree",
            "state_of_listing",
        ],
    },
)
