"""Encoding of zarr arrays: metadata documents, chunks and shards, and stores in a zip."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.image.arrays import zip_store, zip_write
    from cvcache.image.arrays.codec import COMPRESSOR_DEFAULTS, ZARR_3, Codec, crc32c, parse_compressor, strip_crc32c
    from cvcache.image.arrays.spec import ArraySpec, parse_document
    from cvcache.image.arrays.zip_store import TAIL_BYTES, ZipStore
    from cvcache.image.arrays.zip_write import zip_directory

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["zip_store", "zip_write"],
    submod_attrs={
        "codec": ["COMPRESSOR_DEFAULTS", "Codec", "ZARR_3", "crc32c", "parse_compressor", "strip_crc32c"],
        "spec": ["ArraySpec", "parse_document"],
        "zip_store": ["TAIL_BYTES", "ZipStore"],
        "zip_write": ["zip_directory"],
    },
)
