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
    from cvcache.image import open_image
    from cvcache.keys import register_key
    from cvcache.node import CacheDir, Commit, Item, plan
    from cvcache.protocol import Policy
    from cvcache.tree import (
        Damage,
        cdir,
        cdir_commit,
        cdir_copy,
        cdir_init,
        cdir_query,
        cdir_remove,
        cdir_verify,
        cdir_walk,
        step,
    )

_HOME = {
    "formats": ["register_format"],
    "image": ["open_image"],
    "keys": ["register_key"],
    "node": ["CacheDir", "Commit", "Item", "plan"],
    "protocol": ["Policy"],
    "tree": [
        "Damage",
        "cdir",
        "cdir_commit",
        "cdir_copy",
        "cdir_init",
        "cdir_query",
        "cdir_remove",
        "cdir_verify",
        "cdir_walk",
        "step",
    ],
}
"""Subpackage -> the public names it provides; all others are exceptions, from `cvcache.errors`."""

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
    if name in _HOME:
        return importlib.import_module(f"cvcache.{name}")
    if name not in __all__:
        from cvcache.errors import did_you_mean

        msg = f"cvcache has no {name!r}{did_you_mean(name, __all__)}"
        if name.startswith(("cidr", "cdir")):
            # ``from cvcache import cidr_commit`` would replace the text of an AttributeError by its own.
            raise ImportError(msg)
        raise AttributeError(msg)
    home = next((home for home, names in _HOME.items() if name in names), "errors")
    value = getattr(importlib.import_module(f"cvcache.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
