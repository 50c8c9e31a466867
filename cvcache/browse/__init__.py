"""The tree for people: rows, previews and layer data, read on demand. No Qt, no napari."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.browse.actions import Removal, as_python, removal, remove, withdraw
    from cvcache.browse.compare import difference
    from cvcache.browse.find import MAX_MATCHES, matches, search
    from cvcache.browse.item_bytes import READ_ERRORS, error_line
    from cvcache.browse.layer_data import LayerData, cost, layer_item_path, layers, with_contrast
    from cvcache.browse.locate import OpenedUrl, clean_address, not_found_text, open_url
    from cvcache.browse.pictures import MAX_PIXELS, Picture, Refused, has_picture, picture, thumbnail
    from cvcache.browse.previews import Histogram, follow_log, histogram, log_tail, text_head
    from cvcache.browse.row_facts import error_text, facts, key_text, stale_because, why
    from cvcache.browse.rows import Level, Row, directory_of, item_row, node_row, unread_row
    from cvcache.browse.table_preview import TableHead, has_table, table_head
    from cvcache.browse.text import (
        MAX_TOOLTIP_LINE,
        environment_lines,
        number_text,
        plain_line,
        plain_text,
        recorded_mapping,
        recorded_size,
        shape_text,
        size_text,
        strip_controls,
        tooltip_html,
        value_text,
    )
    from cvcache.browse.tree import MAX_CHILDREN, Tree

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "actions": ["Removal", "as_python", "removal", "remove", "withdraw"],
        "compare": ["difference"],
        "find": ["MAX_MATCHES", "matches", "search"],
        "item_bytes": ["READ_ERRORS", "error_line"],
        "layer_data": ["LayerData", "cost", "layer_item_path", "layers", "with_contrast"],
        "locate": ["OpenedUrl", "clean_address", "not_found_text", "open_url"],
        "pictures": ["MAX_PIXELS", "Picture", "Refused", "has_picture", "picture", "thumbnail"],
        "previews": ["Histogram", "follow_log", "histogram", "log_tail", "text_head"],
        "row_facts": ["error_text", "facts", "key_text", "stale_because", "why"],
        "rows": ["Level", "Row", "directory_of", "item_row", "node_row", "unread_row"],
        "table_preview": ["TableHead", "has_table", "table_head"],
        "text": [
            "MAX_TOOLTIP_LINE",
            "environment_lines",
            "number_text",
            "plain_line",
            "plain_text",
            "recorded_mapping",
            "recorded_size",
            "shape_text",
            "size_text",
            "strip_controls",
            "tooltip_html",
            "value_text",
        ],
        "tree": ["MAX_CHILDREN", "Tree"],
    },
)
