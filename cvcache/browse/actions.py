"""Actions on rows: the Python code that reads them, and the removal of nodes after a question."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cvcache.browse.rows import Row
from cvcache.browse.text import recorded_size, size_text, strip_controls
from cvcache.browse.tree import Tree
from cvcache.errors import UsageError
from cvcache.formats import kind_of
from cvcache.protocol import check_removal, remove_node
from cvcache.tree import cdir_remove, read_tree

_MAX_NAMED = 20
"""URLs of nodes that a question lists."""


def as_python(rows: Iterable[Row]) -> str:
    """Return the lines of Python that read these rows; no storage options are in them."""
    chosen = list(rows)
    taken: set[str] = set()
    lines = []
    verbs = set()
    nodes: dict[str, str] = {}
    for row in chosen:
        if row.is_item and row.state == "foreign":
            image = kind_of(row.name) == "image" and "?" not in row.url
            verbs |= {"open_image"} if image else set()
            lines.append(f"{_variable(row.name, taken)} = {f'open_image({row.url!r})' if image else repr(row.url)}")
            continue
        verbs.add("cdir_query")
        if row.node.url not in nodes:
            nodes[row.node.url] = _variable(row.node.address.name, taken)
            lines.append(f"{nodes[row.node.url]} = cdir_query({row.node.url!r})")
        if row.is_item:
            lines.append(f"{_variable(row.name, taken)} = {nodes[row.node.url]}.read({row.name!r})")
    remote = any("://" in row.url for row in chosen)
    hint = ["# storage options, where the environment has none, are keywords: endpoint_url=..., anon=True"] * remote
    imports = [f"from cvcache import {', '.join(sorted(verbs))}", ""] if verbs else []
    return "\n".join([*imports, *hint, *lines]) + "\n" if lines else ""


def _variable(name: str, taken: set[str]) -> str:
    """Return a Python name like the first part of `name` that is not taken yet."""
    identifier = re.sub(r"\W+", "_", name.partition(".")[0], flags=re.ASCII).strip("_").lower() or "node"
    identifier = (
        f"_{identifier}"
        if identifier[0].isdigit() or keyword.iskeyword(identifier) or identifier in {"cdir_query", "open_image"}
        else identifier
    )
    free, number = identifier, 2
    while free in taken:
        free, number = f"{identifier}_{number}", number + 1
    taken.add(free)
    return free


@dataclass(frozen=True, slots=True)
class Removal:
    """What a removal would delete, and which nodes it makes stale.

    Attributes
    ----------
    urls : tuple of str
        The nodes whose results would be deleted, the deepest last.
    items : int
        How many items they hold.
    size : int
        Bytes, as recorded.
    outdated : tuple of str
        Nodes that were made from them, as far as the tree has read them.
    attempts : tuple of str
        The attempts of these results, in the order of `urls`: a later result is not deleted.
    """

    urls: tuple[str, ...]
    items: int
    size: int
    outdated: tuple[str, ...] = ()
    attempts: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it as the text of a question."""
        lines = [f"{_count(len(self.urls), 'node')} with {_count(self.items, 'item')}, {size_text(self.size)}:"]
        lines += _url_lines(self.urls)
        if self.outdated:
            lines += ["", "Made from it, and computed again if it comes out different:", *_url_lines(self.outdated)]
        return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _url_lines(urls: tuple[str, ...]) -> list[str]:
    named = [f"  {strip_controls(url)}" for url in urls[:_MAX_NAMED]]
    return [*named, f"  and {len(urls) - _MAX_NAMED:,} more"] if len(urls) > _MAX_NAMED else named


def removal(tree: Tree, row: Row, *, below: bool = True) -> Removal:
    """Return what `remove` would delete, or with ``below=False`` what `withdraw` would.

    Raises
    ------
    UsageError
        The row is not a directory that cvcache wrote.
    BadRecord
        A record there cannot be read.

    Notes
    -----
    One LIST a directory, and for a node one more and a GET.
    """
    _check_removable(row)
    nodes = read_tree(row.node, depth=None if below else 0)
    entries = [entry for entry in nodes.walk() if _is_node(entry.state)]
    rows = [item for entry in entries for item in entry.items.values()]
    urls = tuple(entry.node.url for entry in entries)
    outdated = [dependent.node.url for dependent in tree.made_from({entry.node.address for entry in entries})]
    size = sum(recorded_size(item) or 0 for item in rows)
    attempts = tuple(record.attempt for entry in entries if (record := entry.node.record) is not None)
    return Removal(urls, len(rows), size, tuple(url for url in outdated if url not in urls), attempts)


def remove(tree: Tree, row: Row, asked: Removal) -> list[str]:
    """Remove the node of a row and all nodes below it, and return their URLs; see `cvcache.cdir_remove`.

    Parameters
    ----------
    tree : Tree
    row : Row
    asked : Removal
        What the user has confirmed.

    Raises
    ------
    NodeBusy
        A live owner is writing one of them.
    UsageError
        The row is not a directory that cvcache wrote, or the nodes there have changed since `asked`.

    Notes
    -----
    What `removal` costs, and what `cvcache.cdir_remove` does.
    """
    _check_same(row, asked, removal(tree, row))
    gone = cdir_remove(row.node, recursive=True)
    tree.look([row.path])
    return gone


def withdraw(tree: Tree, row: Row, asked: Removal) -> list[str]:
    """Remove the result of one node, so that the next run computes it; the nodes below it stay.

    See `remove`, but for `asked`, which is a `removal` with ``below=False``.
    """
    _check_same(row, asked, removal(tree, row, below=False))
    node, policy = row.node, row.node.address.context.policy
    check_removal(node.store, node.path, policy, force=False)
    gone = remove_node(node.store, node.path, policy, force=False)
    tree.look([row.path])
    return [node.url] if gone else []


def _check_same(row: Row, asked: Removal, found: Removal) -> None:
    if (asked.urls, asked.attempts) != (found.urls, found.attempts):
        msg = f"{row.url} is not what it was when you were asked, so nothing was removed; look at it and ask again"
        raise UsageError(msg)


def _is_node(state: str) -> bool:
    return state not in {"folder", "foreign", "absent"}


def _check_removable(row: Row) -> None:
    if row.is_item:
        msg = f"{row.url} is a part of its node, and a commit does not change; remove the node {row.node.url}"
        raise UsageError(msg)
    if row.kind == "foreign":
        msg = f"{row.url} was not written by cvcache, which deletes only what it created; remove it by hand"
        raise UsageError(msg)
