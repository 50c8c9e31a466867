"""The key of a step: canonical values, in which functions count by their code and dask collections by their graphs.

Here what makes the forms of other packages' values, and of functions, meets the walk that asks for them. Each is
loaded with the first value that needs it, as dask's own ``Dispatch.register_lazy`` does it.
"""

from __future__ import annotations

from typing import Any

from cvcache.keys.canonical import FormMaker, Paths, Walk, register_package
from cvcache.keys.digest import CanonicalJson

__all__ = ["canonical_key", "canonical_key_with_items"]


def canonical_key(value: object, where: str = "", *, paths: Paths = "all") -> CanonicalJson:
    """Return the canonical form of a value that is a key, or part of one.

    Parameters
    ----------
    value : object
        Plain values and containers, numpy arrays (dtype, shape and content), pandas and xarray objects, dask
        collections (what they would compute), dates, enums, dataclasses, functions and classes (their code), paths
        and URLs (with what lies there), and whatever has a hook (`register_key`).
    where : str
        What the value is called in an error, such as ``"args"``.
    paths : {"all", "local", "text"}
        Which paths and URLs count with size and time, or etag, of what lies there; the others by their text alone.

    Returns
    -------
    JSON-able
        For plain values equal in every process, for every hash seed and Python version.

    Raises
    ------
    UnkeyableValue
        The value, or one in it, has no canonical form; says which one, where, and the ways out.

    Notes
    -----
    Every byte of an array is read (up to 8 GB/s). One HEAD a URL (up to 4 for one that ends in ``.zarr``); no other
    store call. Safe in threads.
    """
    return Walk(where, _code, paths).form(value)


def canonical_key_with_items(value: object) -> tuple[CanonicalJson, list[Any]]:
    """Return the canonical form of a key, and the items, nodes, stored images and dask collections met on the way."""
    walk = Walk("", _code, "all")
    return walk.form(value), walk.met


def _code(value: object) -> CanonicalJson:
    from cvcache.keys.functions import canonical_callable  # brings ast and inspect, which few values need

    return canonical_callable(value)


@register_package("dask")
def _dask() -> FormMaker:
    from cvcache.keys.graphs import canonical_collection

    return canonical_collection


@register_package("numpy")
def _numpy() -> FormMaker:
    from cvcache.keys.values import canonical_array

    return canonical_array


@register_package("pandas")
def _pandas() -> FormMaker:
    from cvcache.keys.values import canonical_table

    return canonical_table


@register_package("pathlib", "upath")
def _paths() -> FormMaker:
    from cvcache.keys.values import canonical_path

    return canonical_path


@register_package("stdlib")
def _stdlib() -> FormMaker:
    from cvcache.keys.values import canonical_stdlib

    return canonical_stdlib


@register_package("xarray")
def _xarray() -> FormMaker:
    from cvcache.keys.values import canonical_xarray

    return canonical_xarray
