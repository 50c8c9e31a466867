"""The tree for people: rows, previews and layer data, read as they are looked at. No Qt, no napari."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cvcache.browse.actions import Removal, as_python, removal, remove, withdraw
    from cvcache.browse.compare import difference
    from cvcache.browse.find import matches, search
    from cvcache.browse.layer_data.layers import cost, layers, with_contrast
    from cvcache.browse.pictures.pictures import picture, thumbnail
    from cvcache.browse.pictures.png import Picture, Refused
    from cvcache.browse.previews import follow_log, histogram, log_tail, text_head
    from cvcache.browse.row_facts import error_text, facts, key_text, stale_because, why
    from cvcache.browse.rows import Level, Row
    from cvcache.browse.table_preview import table_head
    from cvcache.browse.tree import Tree

_HOME = {
    **dict.fromkeys(("error_text", "facts", "key_text", "stale_because", "why"), "row_facts"),
    **dict.fromkeys(("Removal", "as_python", "removal", "remove", "withdraw"), "actions"),
    "difference": "compare",
    **dict.fromkeys(("matches", "search"), "find"),
    **dict.fromkeys(("cost", "layers", "with_contrast"), "layer_data.layers"),
    **dict.fromkeys(("Picture", "Refused", "picture", "thumbnail"), "pictures.pictures"),
    **dict.fromkeys(("follow_log", "histogram", "log_tail", "text_head"), "previews"),
    **dict.fromkeys(("Level", "Row"), "rows"),
    "table_head": "table_preview",
    "Tree": "tree",
}

__all__ = [
    "Level",
    "Picture",
    "Refused",
    "Removal",
    "Row",
    "Tree",
    "as_python",
    "cost",
    "difference",
    "error_text",
    "facts",
    "follow_log",
    "histogram",
    "key_text",
    "layers",
    "log_tail",
    "matches",
    "picture",
    "removal",
    "remove",
    "search",
    "stale_because",
    "table_head",
    "text_head",
    "thumbnail",
    "why",
    "with_contrast",
    "withdraw",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        from cvcache.errors import did_you_mean

        msg = f"cvcache.browse has no {name!r}{did_you_mean(name, __all__)}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f"cvcache.browse.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
