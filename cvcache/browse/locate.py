"""Open a URL that a user typed: a tree, an item in a tree, or nothing, with the nearest directory that exists."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from cvcache.browse.rows import Row
from cvcache.browse.tree import Tree
from cvcache.errors import CvcacheError, InvalidName, ItemNotFound
from cvcache.store import check_scheme, is_item_dir, parse_url, redact_url, strip_control

MAX_PARENTS = 4
"""Directories above an empty URL that are searched for the nearest one that exists."""
_PAGE_SIZE = 1000
_QUOTES = "\"'"


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
