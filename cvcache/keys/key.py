"""The key of a step as canonical JSON: functions by their code, dask collections by their graphs.

This module registers the encoders for functions and for values of other packages. Each is imported with the first
value that needs it, like dask's ``Dispatch.register_lazy``.
"""

from __future__ import annotations

from typing import Any

from cvcache.keys.canonical import CanonicalEncoder, EncodeFunction, PathMode, Resolve, register_package
from cvcache.keys.digest import CanonicalJson

__all__ = ["canonical_key", "canonical_key_with_inputs"]


def canonical_key(
    value: object, name: str = "", *, paths: PathMode = "all", resolve: Resolve | None = None
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
    resolve : callable, optional
        Called with a URL and its storage options; returns what changes with what lies there, as
        `cvcache.image.identity` does, or None. By default a URL that is no file counts by its text.

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
    Every byte of an array is read (up to 8 GB/s). No store call but those of `resolve`. Safe in threads.
    """
    return CanonicalEncoder(name, _encode_callable, paths, resolve).encode(value)


def canonical_key_with_inputs(value: object, resolve: Resolve | None = None) -> tuple[CanonicalJson, list[Any]]:
    """Return a key as canonical JSON, and its inputs: the items, nodes, stored images and dask collections in it."""
    encoder = CanonicalEncoder("", _encode_callable, "all", resolve)
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
