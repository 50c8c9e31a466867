"""A link (``.ref``) to an image or file elsewhere, which is not copied."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cvcache.errors import ItemDamaged, UsageError
from cvcache.formats import item_damaged, not_reproducible, type_name
from cvcache.image.read import Location, is_zip, parse_image_url, standing_location
from cvcache.protocol import read_newest_record
from cvcache.store import node_of, redact_url, url_and_options

if TYPE_CHECKING:
    import dask.array as da

    from cvcache.formats import ItemPath, ItemWrite

MAX_LINK_BYTES = 64 << 10
"""At most so many bytes of a link are read; a longer one does not parse."""
_GEOMETRY_FIELDS = ("shape", "axes", "scale", "translation", "unit")
_METADATA_NAMES = ("zarr.json", ".zgroup", ".zattrs", ".zarray")


def write(item: ItemWrite, obj: object, /) -> dict[str, Any]:
    """Write a link to something that exists, with a fingerprint of it.

    Parameters
    ----------
    item : ItemWrite
    obj : str or os.PathLike
        URL or path of a zarr or OME-Zarr (a directory, or one zip), whole or with ``?slices=[0,:100]``, or of a
        file of any kind. A local path is made absolute, links in it followed.

    Raises
    ------
    NotReproducible
        `obj` is no URL or path.
    InvalidName
        The URL holds a secret, or is not valid in any store.
    UsageError
        Nothing exists at that URL.

    Notes
    -----
    One STAT and, for a directory, one to four GET of the target, and the calls of `open_image`; one PUT. Storage
    options are not accepted and not stored: a target in the bucket of the link is read with the options of its tree,
    another one with the environment.
    """
    target, found = _look_at(parse_image_url(_url_text(item, obj), near=item))
    kind, fingerprint = found or (None, None)
    if kind is None:
        msg = f"{item.url} was not written: there is no zarr and no file at {redact_url(target.url)!r}; correct the URL"
        raise UsageError(msg)
    if kind == "file" and target.slices is not None:
        msg = f"{item.url} was not written: {redact_url(target.url)!r} is a file, which has no slices; leave them away"
        raise UsageError(msg)
    geometry = _image_geometry(target) if kind == "image" else {}
    link = {"url": target.url, "kind": kind, "fingerprint": fingerprint, "shows": geometry}
    data = f"{json.dumps(link, indent=2)}\n".encode()
    item.put(data)
    return _meta(link, len(data))


def read(item: ItemPath, /, *, level: int = 0, slices: Sequence[Any] | str | None = None) -> da.Array | bytes:
    """Return the target of the link: an image as a lazy dask array, a file as its bytes.

    Parameters
    ----------
    item : ItemPath
    level : int
        Of an image: 0 is the image itself; -1 the coarsest.
    slices : sequence of int, slice and Ellipsis, or str, optional
        The part of an image's level to read; steps are positive.

    Raises
    ------
    ItemDamaged
        The link cannot be read, or its target is missing or changed after the link was written.
    UsageError
        `level` or `slices` of a file.

    Notes
    -----
    One GET of the link, and one STAT and up to four GET of the target; then the calls for reading it.
    """
    kind, target = resolve_link(item)
    if kind == "image":
        from cvcache.image.read import open_image_at

        pixels: da.Array = open_image_at(target, level, slices)
        return pixels
    if level or slices is not None:
        msg = f"{item.url} leads to the file {redact_url(target.url)!r}, which has no levels and no slices"
        raise UsageError(f"{msg}; read it without them")
    return target.store.get(target.path)


def resolve_link(item: ItemPath) -> tuple[str, Location]:
    """Return the kind of the target, "image" or "file", and its location; raises as `read` does.

    Notes
    -----
    One GET of the link, and one STAT and up to four GET of the target.
    """
    link = _parse(item, item.get())
    try:
        target, found = _look_at(parse_image_url(link["url"], near=item))
    except UsageError as error:
        raise item_damaged(item, error) from error
    if found != (link["kind"], link["fingerprint"]):
        change = "is gone" if found is None else "changed after the link was written"
        msg = (
            f"{item.url} leads to {redact_url(target.url)!r}, which {change}; bring that back, or link what is there "
            "now by computing this node again with cdir_init(..., force=True)"
        )
        raise ItemDamaged(msg)
    return link["kind"], target


def describe(item: ItemPath) -> dict[str, Any]:
    """Return the metadata; one GET."""
    data = item.get("", 0, MAX_LINK_BYTES)
    link = _parse(item, data)
    return _meta(link, len(data))


def _meta(link: Mapping[str, Any], size: int) -> dict[str, Any]:
    return {**link.get("shows", {}), "kind": link["kind"], "url": link["url"], "bytes": size}


def _image_geometry(target: Location) -> dict[str, Any]:
    """Return shape, dtype, axes, scale, translation and unit of a linked image; empty if it cannot be read."""
    from cvcache.image.read import open_location

    try:
        stored, _ = open_location(target, 0, None)
    except (FileNotFoundError, ItemDamaged):
        return {}
    return {"dtype": str(stored.dtype), **{name: stored.meta[name] for name in _GEOMETRY_FIELDS}}


def _url_text(item: ItemPath, obj: object) -> str:
    """Return a URL or a path as text."""
    text, options = url_and_options(obj)
    if options:
        msg = (
            f"{item.url} was not written: a link keeps no storage options, and {type_name(obj)} has some; link the URL "
            "as text: it is read with the options of this tree if it is in the same bucket, else with the environment"
        )
        raise UsageError(msg)
    if not isinstance(text, str):
        raise not_reproducible(item, f"it is a {type_name(obj)}, not a URL or path", "pass it as a str or os.PathLike")
    return text


def _look_at(target: Location) -> tuple[Location, tuple[str, dict[str, Any]] | None]:
    """Return where the target lies, and its kind and fingerprint; None if nothing exists there."""
    standing = standing_location(target)
    return standing, _fingerprint(standing)


def _fingerprint(target: Location) -> tuple[str, dict[str, Any]] | None:
    """Return the kind of the target and a fingerprint of its current content; None if nothing exists there."""
    info = target.store.stat(target.path)
    if info is not None:
        kind = "image" if is_zip(target.path) else "file"
        return kind, {"size": info.size, "etag": info.etag}
    digest, exists = hashlib.sha256(), False
    for name in _METADATA_NAMES:
        try:
            data = target.store.get(f"{target.path}/{name}")
        except FileNotFoundError:
            continue
        exists = True
        digest.update(f"{name} {len(data)}\n".encode() + data)
        if name == _METADATA_NAMES[0]:
            break
    if not exists:
        return None
    newest = read_newest_record(target.store, node_of(target.path))
    commit = newest.result.attempt if newest is not None and newest.result is not None else ""
    return "image", {"sha256": digest.hexdigest(), **({"commit": commit} if commit else {})}


def _parse(item: ItemPath, data: bytes) -> Mapping[str, Any]:
    """Return the parsed and checked content of a link."""
    try:
        link = json.loads(data[:MAX_LINK_BYTES])
    except ValueError as error:
        raise item_damaged(item, error) from error
    types = {"url": str, "kind": str, "fingerprint": dict}
    if not isinstance(link, dict) or not all(isinstance(link.get(name), kind) for name, kind in types.items()):
        raise item_damaged(item, "it is no link with url, kind and fingerprint")
    if link["kind"] not in {"image", "file"}:
        raise item_damaged(item, f"it leads to a {link['kind'][:80]!r}, not to an image or a file")
    return link
