"""File formats of items: the suffix of an item's name selects the module that writes and reads it."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.formats import csv_table, parquet, registry, successor
    from cvcache.formats.directory import damaged_files
    from cvcache.formats.frame import cvcache_metadata, dataframe_difference
    from cvcache.formats.item_path import ItemPath, sha256
    from cvcache.formats.item_write import ItemWrite
    from cvcache.formats.json_value import json_exact
    from cvcache.formats.messages import (
        check_dataframe,
        drawing_thumbnail,
        import_optional,
        item_damaged,
        not_reproducible,
        stored_size,
        type_name,
    )
    from cvcache.formats.registry import (
        KINDS,
        Format,
        FormatModule,
        find_format,
        find_suffix,
        kind_of,
        register_format,
        registered_format,
    )

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["csv_table", "parquet", "registry", "successor"],
    submod_attrs={
        "directory": ["damaged_files"],
        "frame": ["cvcache_metadata", "dataframe_difference"],
        "item_path": ["ItemPath", "sha256"],
        "item_write": ["ItemWrite"],
        "json_value": ["json_exact"],
        "messages": [
            "check_dataframe",
            "drawing_thumbnail",
            "import_optional",
            "item_damaged",
            "not_reproducible",
            "stored_size",
            "type_name",
        ],
        "registry": [
            "Format",
            "FormatModule",
            "KINDS",
            "find_format",
            "find_suffix",
            "kind_of",
            "register_format",
            "registered_format",
        ],
    },
)
