"""A hierarchical cache directory for image pipelines, on any URL fsspec knows.

Names only: importing this loads none of numpy, dask, zarr and fsspec; each name is loaded on its first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cvcache.errors import (
        BadRecord,
        Contention,
        CvcacheError,
        DataError,
        ForeignItem,
        InvalidName,
        ItemDamaged,
        ItemNotFound,
        LeaseLost,
        NewerRecord,
        NodeBusy,
        NodeCommitted,
        NodeRemoved,
        NodeReplaced,
        NodeStale,
        NotACacheDir,
        NotComputed,
        NotExclusive,
        NotOpen,
        NotReproducible,
        RecursiveNode,
        Refusal,
        UnkeyableValue,
        UnknownFormat,
        UnknownOption,
        UsageError,
    )
    from cvcache.formats import register_format
    from cvcache.image.read.open import open_image
    from cvcache.keys.canonical import register_key
    from cvcache.node.cachedir import CacheDir
    from cvcache.node.commit import Commit
    from cvcache.node.items import Item
    from cvcache.protocol.policy import Policy
    from cvcache.tree.api import cdir, cdir_commit, cdir_init, cdir_query
    from cvcache.tree.copy_tree import cdir_copy
    from cvcache.tree.plan import plan
    from cvcache.tree.step import step
    from cvcache.tree.verify import Damage, cdir_verify
    from cvcache.tree.walk import cdir_remove, cdir_walk, cdir_why

_HOME = {
    **dict.fromkeys(("cdir", "cdir_commit", "cdir_init", "cdir_query"), "tree.api"),
    **dict.fromkeys(("cdir_remove", "cdir_walk", "cdir_why"), "tree.walk"),
    **dict.fromkeys(("Damage", "cdir_verify"), "tree.verify"),
    "CacheDir": "node.cachedir",
    "Commit": "node.commit",
    "Item": "node.items",
    "Policy": "protocol.policy",
    "cdir_copy": "tree.copy_tree",
    "open_image": "image.read.open",
    "plan": "tree.plan",
    "register_format": "formats",
    "register_key": "keys.canonical",
    "step": "tree.step",
}

__all__ = [
    "BadRecord",
    "CacheDir",
    "Commit",
    "Contention",
    "CvcacheError",
    "Damage",
    "DataError",
    "ForeignItem",
    "InvalidName",
    "Item",
    "ItemDamaged",
    "ItemNotFound",
    "LeaseLost",
    "NewerRecord",
    "NodeBusy",
    "NodeCommitted",
    "NodeRemoved",
    "NodeReplaced",
    "NodeStale",
    "NotACacheDir",
    "NotComputed",
    "NotExclusive",
    "NotOpen",
    "NotReproducible",
    "Policy",
    "RecursiveNode",
    "Refusal",
    "UnkeyableValue",
    "UnknownFormat",
    "UnknownOption",
    "UsageError",
    "cdir",
    "cdir_commit",
    "cdir_copy",
    "cdir_init",
    "cdir_query",
    "cdir_remove",
    "cdir_verify",
    "cdir_walk",
    "cdir_why",
    "open_image",
    "plan",
    "register_format",
    "register_key",
    "step",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("cvcache")
    if name not in __all__:
        from cvcache.errors import did_you_mean

        msg = f"cvcache has no {name!r}{did_you_mean(name, __all__)}"
        if name.startswith(("cidr", "cdir")):
            # ``from cvcache import cidr_commit`` would replace the text of an AttributeError by its own.
            raise ImportError(msg)
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f"cvcache.{_HOME.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
