"""Where an address that somebody typed leads: to a tree, to an item in one, or to nothing, and what lies nearest."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from cvcache.browse.rows import Row
from cvcache.browse.tree import Tree
from cvcache.errors import CvcacheError, InvalidName, ItemNotFound
from cvcache.store import check_scheme, is_item_dir, parse_url, redact_url, strip_control

MOST_ABOVE = 4
"""Directories above a place with nothing that are asked whether there is something."""
_PAGE = 1000
_QUOTES = "\"'"


@dataclass(frozen=True, slots=True)
class Landing:
    """A tree and its top.

    Attributes
    ----------
    item : str
        URL of the item that was asked for; `tree` is that of its directory. Empty if a directory was asked for.
    nearest : str
        Where there is nothing, the nearest directory above that holds something; empty if none was found.
    """

    tree: Tree
    top: Row
    item: str = ""
    nearest: str = ""

    @property
    def absent(self) -> bool:
        """Whether there is nothing."""
        return self.top.state == "absent"


def cleaned(text: str) -> str:
    """Return an address without the spaces and quotes that came along when it was copied."""
    text = text.strip()
    while len(text) > 1 and text[0] in _QUOTES and text[0] == text[-1]:
        text = text[1:-1].strip()
    return text


def open_url(url: str, **storage_options: Any) -> Landing:
    """Open the tree at `url`, or that of the directory of the item at `url`.

    Raises
    ------
    InvalidName
        No store keeps anything at such a URL.
    ItemNotFound
        It is spelled as that of a directory item, and there is none.
    OSError
        The store cannot be reached, or refuses.

    Notes
    -----
    What `Tree.open` costs. Of an item, and where there is nothing, what `Tree.open` and `Tree.expand` cost for the
    directory above, and where that holds nothing either one LIST for each of up to `MOST_ABOVE` above.
    """
    above, _, name = url.rstrip("/").rpartition("/")
    above = strip_control(above)
    if is_item_dir(name) and above:
        found = _item_in(above, name, storage_options)
        if found is None:
            raise ItemNotFound(nothing_at(redact_url(url), _nearest(_opened(above, storage_options), itself=True)))
        return found
    tree = _opened(url, storage_options)
    try:
        top = tree.open()
        if top.state != "absent":
            return Landing(tree, top)
        found = _item_in(above, name, storage_options) if above else None
        nearest = "" if found else _nearest(tree)
    except BaseException:
        tree.close()
        raise
    if found is None:
        return Landing(tree, top, nearest=nearest)
    tree.close()
    return found


def nothing_at(url: str, nearest: str) -> str:
    """Say that there is nothing, and where there is something."""
    return f"there is nothing at {url}" + (f"; the nearest that exists is {nearest}" if nearest else "")


def _opened(url: str, options: dict[str, Any]) -> Tree:
    try:
        return _with_store(url, options)
    except InvalidName:
        with contextlib.suppress(ImportError):  # of one that is known
            check_scheme(parse_url(url).scheme)
        raise


def _with_store(url: str, options: dict[str, Any]) -> Tree:
    """Return a tree whose store is open: only that tells whether there is one for such a URL."""
    tree = Tree(url, **options)
    try:
        tree.top.store  # noqa: B018 - to look is to open it
    except BaseException:
        tree.close()
        raise
    return tree


def _item_in(above: str, name: str, options: dict[str, Any]) -> Landing | None:
    """Return the tree of the directory `above` if it holds an item called `name`."""
    try:
        tree = Tree(above, **options)
    except CvcacheError:
        if is_item_dir(name):
            raise
        return None
    try:
        top = tree.open()
        rows = tree.expand("", _PAGE).rows if top.state != "absent" else ()
        row = next((row for row in rows if row.is_item and row.name == name), None)
    except BaseException:
        tree.close()
        raise
    if row is None:
        tree.close()
        return None
    return Landing(tree, top, row.url)


def _nearest(tree: Tree, *, itself: bool = False) -> str:
    """Return the URL of the nearest directory above the top of `tree` that holds something, or of the top."""
    store, place = tree.top.store, tree.top.location
    for _ in range(MOST_ABOVE):
        if not itself:
            place = place.rpartition("/")[0]
        itself = False
        if not place:
            break
        try:
            if store.list(place, 1):
                return store.url(place)
        except OSError:
            break
    return ""
