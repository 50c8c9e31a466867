"""Say what a URL, a row or an item is: a tree, an item of a node, an image or file of another program, or nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cvcache.browse.item_bytes import item_path
from cvcache.browse.rows import Row
from cvcache.browse.tree import Tree
from cvcache.errors import CvcacheError, InvalidName, ItemNotFound, UsageError
from cvcache.formats import ItemPath, kind_of, registered_format
from cvcache.image import Location, parse_image_url
from cvcache.node import Item, item_io, read_snapshot, snapshot_of
from cvcache.store import check_scheme, is_control, is_item_dir, layout, node_of, parse_url, redact_url, strip_control
from cvcache.tree import resolve_address

if TYPE_CHECKING:
    from cvcache.image import Slices
    from cvcache.node import Snapshot

MAX_PARENTS = 4
"""Directories above an empty URL that are searched for the nearest one that exists."""
_PAGE_SIZE = 1000
_QUOTES = "\"'"


@dataclass(frozen=True, slots=True)
class Subject:
    """What layers are made from: an item of a node, or an image or file of another program.

    Attributes
    ----------
    item : ItemPath
        Its path, with its recorded metadata.
    kind : str
        What its suffix tells, or "points" if that is recorded; "image" for a foreign one whose suffix tells nothing.
    name : str
        Of the item or file.
    title : str
        Name of its layers.
    origin : mapping
        ``metadata["cvcache"]`` of its layers: URL, node, item, path, state and commit.
    node : Snapshot or None
        The node that it is an item of; None for a foreign one.
    slices : tuple, optional
        The part that is shown.
    """

    item: ItemPath
    kind: str
    name: str
    title: str
    origin: Mapping[str, Any]
    node: Snapshot | None = None
    slices: Slices | None = None


def locate(where: object, *, title: str | None = None, **storage_options: Any) -> Subject:
    """Return what is at a URL or path, or what an item or the row of one is.

    Raises
    ------
    UsageError
        It is a node, or options are given for what is no URL.

    Notes
    -----
    One LIST and one GET for a URL, one LIST more if the item is uncommitted; else one GET of the inventory if the item
    is new, one of the plan of an image that is being written.
    """
    is_url = isinstance(where, (str, os.PathLike)) and not hasattr(where, "__cvcache_input__")  # no node, no item
    if is_url or hasattr(where, "storage_options"):
        target = parse_image_url(where, storage_options)
        return locate_target(target, title, {**getattr(where, "storage_options", {}), **storage_options})
    if storage_options:
        msg = f"storage options ({', '.join(storage_options)}) belong to a URL; {where!r} has those of its tree"
        raise UsageError(msg)
    if isinstance(where, Item):
        return locate_item(snapshot_of(where.node), where.name, where.meta, title)
    if isinstance(where, Row) and where.is_item:
        return _locate_row(where, title)
    msg = f"{where!r} is no item; give node[name], the row of an item, or the URL of an image"
    raise UsageError(msg)


def locate_target(target: Location, title: str | None = None, options: Mapping[str, Any] | None = None) -> Subject:
    """Return the item at a location, or the foreign image or file; see `locate`."""
    found = _item_at(target, title, options or {})
    subject = found or _foreign(ItemPath(target.store, target.path), _foreign_kind(target.path), title)
    return subject if target.slices is None else replace(subject, slices=target.slices)


def locate_item(
    node: Snapshot, name: str, meta: Mapping[str, Any], title: str | None = None, *, state: str = "", path: str = ""
) -> Subject:
    """Return the item `name` of a node as it was read; `state` and `path` are those of its row in a tree."""
    item = item_io.item_path(node, name, meta, strict=True)
    kind = kind_of(name)
    if kind not in {"image", "link"} and item.meta.get("kind") == "points":
        kind = "points"
    origin = {
        "url": item.url,
        "node": node.url,
        "item": name,
        "path": path,
        "state": state or node.items_state,
        "commit": node.record.attempt if node.record is not None else "",
    }
    return Subject(item, kind, name, title or f"{node.address.name}/{_stem(name)}", origin, node)


def _locate_row(row: Row, title: str | None) -> Subject:
    node, name = row.node, row.name
    if row.state == "foreign":
        return _foreign(item_path(row), kind_of(name), title, node=node.url, path=row.path)
    return locate_item(node, name, row.meta, title, state=row.state, path=row.path)


def _foreign(item: ItemPath, kind: str, title: str | None, **row: str) -> Subject:
    """Return an image or file of another program; `row` has the directory and path of its row in a tree."""
    *above, name = item.path.split("/")
    origin = {"url": item.url, "node": "", "item": name, "path": "", "state": "foreign", "commit": "", **row}
    return Subject(item, kind, name, title or "/".join([*above[-1:], _stem(name)]).lstrip("/"), origin)


def _foreign_kind(path: str) -> str:
    """Return the kind of an image or file by its name: "image" without a format, as images of any program may be."""
    name = path.rpartition("/")[2]
    return "image" if registered_format(name) is None else kind_of(name) or "file"


def _item_at(target: Location, title: str | None, options: Mapping[str, Any]) -> Subject | None:
    """Return the item at a location; None for a foreign image or file."""
    path = node_of(target.path)
    inside = target.path.removeprefix(f"{path}/").split("/")
    if len(inside) > 1 and not is_control(inside[0]):
        return None
    try:
        node = read_snapshot(resolve_address(target.store.url(path), **options))
        record, rows = node.record, item_io.read_rows(node)
    except (CvcacheError, OSError):
        return None
    name = inside[-1]
    paths = {f"{path}/{name}", f"{layout.data_root(path, record)}/{name}"}
    if record is None or target.path not in paths or name not in rows:
        return None
    return locate_item(node, name, rows[name], title)


def _stem(name: str) -> str:
    """Return the name of an item without the suffix of its format."""
    fmt = registered_format(name)
    return fmt.stem(name) if fmt else name


@dataclass(frozen=True, slots=True)
class OpenedUrl:
    """The tree at a URL, and its top row.

    Attributes
    ----------
    item : str
        URL of the item, if the URL was that of an item; `tree` is then the tree of its directory. Else empty.
    nearest : str
        If nothing is there, the nearest directory above that is not empty; empty if none was found.
    """

    tree: Tree
    top: Row
    item: str = ""
    nearest: str = ""

    @property
    def absent(self) -> bool:
        """Whether there is nothing at the URL."""
        return self.top.state == "absent"


def clean_address(text: str) -> str:
    """Return an address without surrounding spaces and quotes."""
    text = text.strip()
    while len(text) > 1 and text[0] in _QUOTES and text[0] == text[-1]:
        text = text[1:-1].strip()
    return text


def open_url(url: str, **storage_options: Any) -> OpenedUrl:
    """Open the tree at `url`, or that of the directory of the item at `url`.

    Raises
    ------
    InvalidName
        No store has such URLs.
    ItemNotFound
        The URL has the suffix of a directory item, and there is none.
    OSError
        The store cannot be reached, or refuses.

    Notes
    -----
    The cost of `Tree.open`. For an item, and where there is nothing, also that of `Tree.open` and `Tree.expand` for the
    directory above; where that is empty too, one LIST for each of up to `MAX_PARENTS` directories above.
    """
    above, _, name = url.rstrip("/").rpartition("/")
    above = strip_control(above)
    if is_item_dir(name) and above:
        found = _open_item(above, name, storage_options)
        if found is None:
            raise ItemNotFound(
                not_found_text(redact_url(url), _nearest_existing(_open_tree(above, storage_options), include_top=True))
            )
        return found
    tree = _open_tree(url, storage_options)
    try:
        top = tree.open()
        if top.state != "absent":
            return OpenedUrl(tree, top)
        found = _open_item(above, name, storage_options) if above else None
        nearest = "" if found else _nearest_existing(tree)
    except BaseException:
        tree.close()
        raise
    if found is None:
        return OpenedUrl(tree, top, nearest=nearest)
    tree.close()
    return found


def not_found_text(url: str, nearest: str) -> str:
    """Return the sentence that nothing is at `url`, with the nearest URL that exists."""
    return f"there is nothing at {url}" + (f"; the nearest that exists is {nearest}" if nearest else "")


def _open_tree(url: str, options: dict[str, Any]) -> Tree:
    try:
        return _open_store(url, options)
    except InvalidName:
        with contextlib.suppress(ImportError):  # raises if the package of a known scheme is not installed
            check_scheme(parse_url(url).scheme)
        raise


def _open_store(url: str, options: dict[str, Any]) -> Tree:
    """Return a tree whose store is open: only opening it shows whether the URL is valid."""
    tree = Tree(url, **options)
    try:
        tree.top.store  # noqa: B018 - the property opens it
    except BaseException:
        tree.close()
        raise
    return tree


def _open_item(above: str, name: str, options: dict[str, Any]) -> OpenedUrl | None:
    """Return the tree of the directory `above` if it has an item `name`."""
    try:
        tree = Tree(above, **options)
    except CvcacheError:
        if is_item_dir(name):
            raise
        return None
    try:
        top = tree.open()
        rows = tree.expand("", _PAGE_SIZE).rows if top.state != "absent" else ()
        row = next((row for row in rows if row.is_item and row.name == name), None)
    except BaseException:
        tree.close()
        raise
    if row is None:
        tree.close()
        return None
    return OpenedUrl(tree, top, row.url)


def _nearest_existing(tree: Tree, *, include_top: bool = False) -> str:
    """Return the URL of the nearest directory above the top of `tree` that is not empty, or of the top."""
    store, location = tree.top.store, tree.top.path
    for _ in range(MAX_PARENTS):
        if not include_top:
            location = location.rpartition("/")[0]
        include_top = False
        if not location:
            break
        try:
            if store.list(location, 1):
                return store.url(location)
        except OSError:
            break
    return ""
