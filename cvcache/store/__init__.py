"""Bytes at a URL: exact keys, and one conditional create that elects a winner. Only this package imports fsspec."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.store import layout, local
    from cvcache.store.base import (
        CONCURRENCY,
        Listing,
        ObjectInfo,
        Store,
        account_of,
        instrument,
        known_options,
        options_of,
        reopen_store,
    )
    from cvcache.store.bucket import BucketStore, check_scheme
    from cvcache.store.endpoint import check_endpoint
    from cvcache.store.fileobj import Guard, ObjectWriter, RangeReader
    from cvcache.store.gather import gather
    from cvcache.store.gcs import GcsStore
    from cvcache.store.layout import (
        DIRECTORY_INDEX,
        IN_PLACE,
        RECORDS_OF_ONE_ATTEMPT,
        ZARR_METADATA,
        attempt_root,
        control_dir,
        data_root,
        failed_log_path,
        is_control,
        is_item_dir,
        log_dir,
        log_entries,
        node_of,
        parse_record_name,
        record_name,
        strip_control,
        successor_path,
        temporary_dir,
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
        parse_child,
        relative_url,
        resolve_relative,
    )
    from cvcache.store.open import (
        Place,
        merge_options,
        open_store,
        open_store_from,
        parse_storage_option,
        resolve_node,
    )
    from cvcache.store.redaction import find_secrets, redact_secrets
    from cvcache.store.retry import call_with_retries, http_status, is_access_denied, is_already_exists, is_transient
    from cvcache.store.s3 import S3Store
    from cvcache.store.urls import Location, parse_url, redact_url, url_and_options

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["layout", "local"],
    submod_attrs={
        "base": [
            "CONCURRENCY",
            "Listing",
            "ObjectInfo",
            "Store",
            "account_of",
            "instrument",
            "known_options",
            "options_of",
            "reopen_store",
        ],
        "bucket": ["BucketStore", "check_scheme"],
        "endpoint": ["check_endpoint"],
        "fileobj": ["Guard", "ObjectWriter", "RangeReader"],
        "gather": ["gather"],
        "gcs": ["GcsStore"],
        "layout": [
            "DIRECTORY_INDEX",
            "IN_PLACE",
            "RECORDS_OF_ONE_ATTEMPT",
            "ZARR_METADATA",
            "attempt_root",
            "control_dir",
            "data_root",
            "failed_log_path",
            "is_control",
            "is_item_dir",
            "log_dir",
            "log_entries",
            "node_of",
            "parse_record_name",
            "record_name",
            "strip_control",
            "successor_path",
            "temporary_dir",
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
            "parse_child",
            "relative_url",
            "resolve_relative",
        ],
        "open": [
            "Place",
            "merge_options",
            "open_store",
            "open_store_from",
            "parse_storage_option",
            "resolve_node",
        ],
        "redaction": ["find_secrets", "redact_secrets"],
        "retry": ["call_with_retries", "http_status", "is_access_denied", "is_already_exists", "is_transient"],
        "s3": ["S3Store"],
        "urls": ["Location", "parse_url", "redact_url", "url_and_options"],
    },
)
