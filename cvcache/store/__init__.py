"""Bytes at a URL: exact keys, and one primitive that elects a winner. This package alone imports fsspec."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.store import layout, local
    from cvcache.store.base import CONCURRENCY, Listing, ObjectInfo, Store, instrument
    from cvcache.store.bucket import BucketStore, check_scheme
    from cvcache.store.endpoint import check_endpoint
    from cvcache.store.fileobj import Guard, RangeReader, WholeObject
    from cvcache.store.gather import gather
    from cvcache.store.gcs import GcsStore
    from cvcache.store.layout import (
        DIRECTORY_INDEX,
        IN_PLACE,
        above_control,
        attempt_root,
        control,
        is_control,
        is_item_dir,
        log,
        log_entries,
        node_of,
        parse_record_name,
        record_name,
        root,
        successor,
        temporary,
    )
    from cvcache.store.local import LocalStore
    from cvcache.store.lru import ENTRY_OVERHEAD, MemoryCache
    from cvcache.store.memory import MemoryStore
    from cvcache.store.names import (
        MAX_KEY_BYTES,
        MAX_SEGMENT_BYTES,
        check_item_name,
        check_key,
        check_node_name,
        child_names,
        item_names,
        node_path,
    )
    from cvcache.store.open import location_of, open_store, read_option
    from cvcache.store.redaction import redact_secrets, secrets_of
    from cvcache.store.retry import http_status, is_denied, is_lost, is_transient, retrying
    from cvcache.store.s3 import S3Store
    from cvcache.store.urls import Location, as_text, parse_url, redact_url

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["layout", "local"],
    submod_attrs={
        "base": ["CONCURRENCY", "Listing", "ObjectInfo", "Store", "instrument"],
        "bucket": ["BucketStore", "check_scheme"],
        "endpoint": ["check_endpoint"],
        "fileobj": ["Guard", "RangeReader", "WholeObject"],
        "gather": ["gather"],
        "gcs": ["GcsStore"],
        "layout": [
            "DIRECTORY_INDEX",
            "IN_PLACE",
            "above_control",
            "attempt_root",
            "control",
            "is_control",
            "is_item_dir",
            "log",
            "log_entries",
            "node_of",
            "parse_record_name",
            "record_name",
            "root",
            "successor",
            "temporary",
        ],
        "local": ["LocalStore"],
        "lru": ["ENTRY_OVERHEAD", "MemoryCache"],
        "memory": ["MemoryStore"],
        "names": [
            "MAX_KEY_BYTES",
            "MAX_SEGMENT_BYTES",
            "check_item_name",
            "check_key",
            "check_node_name",
            "child_names",
            "item_names",
            "node_path",
        ],
        "open": ["location_of", "open_store", "read_option"],
        "redaction": ["redact_secrets", "secrets_of"],
        "retry": ["http_status", "is_denied", "is_lost", "is_transient", "retrying"],
        "s3": ["S3Store"],
        "urls": ["Location", "as_text", "parse_url", "redact_url"],
    },
)
