"""How bytes look: the suffix of an item's name decides how an object becomes bytes and back."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.formats import csv_table, item_path, parquet, registry
    from cvcache.formats.directory import damaged
    from cvcache.formats.frame import difference, own_of
    from cvcache.formats.item_path import ItemPath, sha256
    from cvcache.formats.json_value import plain_values
    from cvcache.formats.messages import check_frame, damage, need, refusal, stored_bytes, type_name
    from cvcache.formats.registry import KINDS, Format, FormatModule, find_format, register_format

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["csv_table", "item_path", "parquet", "registry"],
    submod_attrs={
        "directory": ["damaged"],
        "frame": ["difference", "own_of"],
        "item_path": ["ItemPath", "sha256"],
        "json_value": ["plain_values"],
        "messages": ["check_frame", "damage", "need", "refusal", "stored_bytes", "type_name"],
        "registry": ["Format", "FormatModule", "KINDS", "find_format", "register_format"],
    },
)
