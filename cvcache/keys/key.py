"""The key of a step as canonical JSON: functions by their code, dask collections by their graphs.

This module registers the encoders for functions and for values of other packages. Each is imported with the first
value that needs it, like dask's ``Dispatch.register_lazy``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cvcache.keys.canonical import CanonicalEncoder, EncodeFunction, PathMode, register_package
from cvcache.keys.digest import CanonicalJson

if TYPE_CHECKING:
    from cvcache.store import Place

__all__ = ["canonical_key", "canonical_key_with_inputs"]


def canonical_key(
    value: object, name: str = "", *, paths: PathMode = "all", near: Place | None = None
) -> CanonicalJson:
    """Return a key, or a part of one, as canonical JSON.

    Parameters
    ----------
    value : object
        Plain values and containers, numpy arrays (dtype, shape and content), pandas and xarray objects, dask
        collections (what they would compute), dates, enums, dataclasses, functions and classes (their code), paths
        and URLs (with the state of the file), and types with a hook (`register_key`).
    name : str
        Name of the value in error messages, such as ``"args"``.
    paths : {"all", "local", "text"}
        Which paths and URLs are encoded with size and time, or etag, of the file; the others as text only.
    near : Place, optional
        Whose store is asked for a URL without options of its own, if it is in the same bucket.

    Returns
    -------
    JSON-able
        For plain values the same in every process, with every hash seed and Python version.

    Raises
    ------
    UnkeyableValue
        The value, or a part of it, cannot be encoded; the message names the part and the ways out.

    Notes
    -----
    Every byte of an array is read (up to 8 GB/s). One HEAD a URL (up to 4 for one that ends in ``.zarr``); no other
    store call. Safe in threads.
    """
    return CanonicalEncoder(name, _encode_callable, paths, near).encode(value)


def canonical_key_with_inputs(value: object, near: Place | None = None) -> tuple[CanonicalJson, list[Any]]:
    """Return a key as canonical JSON, and its inputs: the items, nodes, stored images and dask collections in it."""
    encoder = CanonicalEncoder("", _encode_callable, "all", near)
    return encoder.encode(value), encoder.inputs


def _encode_callable(value: object) -> CanonicalJson:
    from cvcache.keys.functions import canonical_callable  # imports ast and inspect, which few values need

    return canonical_callable(value)


@register_package("dask")
def _dask() -> EncodeFunction:
    from cvcache.keys.graphs import canonical_collection

    return canonical_collection


@register_package("numpy")
def _numpy() -> EncodeFunction:
    from cvcache.keys.values import canonical_array

    return canonical_array


@register_package("pandas")
def _pandas() -> EncodeFunction:
    from cvcache.keys.values import canonical_table

    return canonical_table


@register_package("pathlib", "upath")
def _paths() -> EncodeFunction:
    from cvcache.keys.values import canonical_path

    return canonical_path


@register_package("stdlib")
def _stdlib() -> EncodeFunction:
    from cvcache.keys.values import canonical_stdlib

    return canonical_stdlib


@register_package("xarray")
def _xarray() -> EncodeFunction:
    from cvcache.keys.values import canonical_xarray

    return canonical_xarray
