"""Canonical JSON of values of the standard library and of other packages."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.keys.values import paths
    from cvcache.keys.values.numpy_array import BLAKE3_MIN_BYTES, canonical_array
    from cvcache.keys.values.pandas_table import canonical_table
    from cvcache.keys.values.paths import canonical_local_path, canonical_path
    from cvcache.keys.values.stdlib import canonical_stdlib
    from cvcache.keys.values.xarray_data import canonical_xarray

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["paths"],
    submod_attrs={
        "numpy_array": ["BLAKE3_MIN_BYTES", "canonical_array"],
        "pandas_table": ["canonical_table"],
        "paths": ["canonical_local_path", "canonical_path"],
        "stdlib": ["canonical_stdlib"],
        "xarray_data": ["canonical_xarray"],
    },
)
