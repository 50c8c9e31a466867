"""What can be done with a row: the Python that reads it, and the removal of a node, said before it is done."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cvcache.browse.rows import Row
from cvcache.browse.text import recorded_size, size_text, strip_controls
from cvcache.browse.tree import Tree
from cvcache.errors import UsageError
from cvcache.protocol import check_removal, remove_node
from cvcache.tree import cdir_remove, read_tree

_NAMED = 20
"""Nodes that a question names."""


def as_python(rows: Iterable[Row]) -> str:
    """Return the lines of Python that read these rows; no storage options are in them."""
    chosen = list(rows)
    taken: set[str] = set()
    lines = []
    verbs = set()
    nodes: dict[str, str] = {}
    for row in chosen:
        if row.is_item and row.state == "foreign":
            image = row.name.endswith((".zarr", ".zarr.zip")) and "?" not in row.url
            verbs |= {"open_image"} if image else set()
            lines.append(f"{_variable(row.name, taken)} = {f'open_image({row.url!r})' if image else repr(row.url)}")
            continue
        verbs.add("cdir_query")
        if row.node.url not in nodes:
            nodes[row.node.url] = _variable(row.node.name, taken)
            lines.append(f"{nodes[row.node.url]} = cdir_query({row.node.url!r})")
        if row.is_item:
            lines.append(f"{_variable(row.name, taken)} = {nodes[row.node.url]}.read({row.name!r})")
    remote = any("://" in row.url for row in chosen)
    hint = ["# storage options, where the environment has none, are keywords: endpoint_url=..., anon=True"] * remote
    imports = [f"from cvcache import {', '.join(sorted(verbs))}", ""] if verbs else []
    return "\n".join([*imports, *hint, *lines]) + "\n" if lines else ""


def _variable(name: str, taken: set[str]) -> str:
    """Return a Python name like the first part of `name` that is not taken yet."""
    word = re.sub(r"\W+", "_", name.partition(".")[0], flags=re.ASCII).strip("_").lower() or "node"
    word = f"_{word}" if word[0].isdigit() or keyword.iskeyword(word) or word in {"cdir_query", "open_image"} else word
    free, number = word, 2
    while free in taken:
        free, number = f"{word}_{number}", number + 1
    taken.add(free)
    return free


@dataclass(frozen=True, slots=True)
class Removal:
    """What would go, and what it means for others.

    Attributes
    ----------
    urls : tuple of str
        The nodes whose results go, the deepest last.
    items : int
        How many items they hold.
    size : int
        Bytes, as recorded.
    outdated : tuple of str
        Nodes that were made from them, as far as they were seen.
    attempts : tuple of str
        Whose results they are, in the order of `urls`: a result that came later is not meant.
    """

    urls: tuple[str, ...]
    items: int
    size: int
    outdated: tuple[str, ...] = ()
    attempts: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it as lines, for a question."""
        lines = [f"{_count(len(self.urls), 'node')} with {_count(self.items, 'item')}, {size_text(self.size)}:"]
        lines += _some(self.urls)
        if self.outdated:
            lines += ["", "Made from it, and computed again if it comes out different:", *_some(self.outdated)]
        return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _some(urls: tuple[str, ...]) -> list[str]:
    named = [f"  {strip_controls(url)}" for url in urls[:_NAMED]]
    return [*named, f"  and {len(urls) - _NAMED:,} more"] if len(urls) > _NAMED else named


def removal(tree: Tree, row: Row, *, below: bool = True) -> Removal:
    """Return what `remove` would delete, or with ``below=False`` what `withdraw` would.

    Raises
    ------
    UsageError
        The row is no directory of cvcache's.
    BadRecord
        A record there cannot be read, so nobody knows what it stands for.

    Notes
    -----
    One LIST a directory, and for a node one more and a GET.
    """
    _check(row)
    found = read_tree(row.node.with_context(), depth=None if below else 0)
    entries = [entry for entry in found.walk() if _is_node(entry.state)]
    rows = [item for entry in entries for item in entry.items.values()]
    urls = tuple(entry.node.url for entry in entries)
    outdated = [one.node.url for one in tree.made_from({entry.node.location for entry in entries})]
    size = sum(recorded_size(item) or 0 for item in rows)
    attempts = tuple(record.attempt for entry in entries if (record := entry.node.record()) is not None)
    return Removal(urls, len(rows), size, tuple(url for url in outdated if url not in urls), attempts)


def remove(tree: Tree, row: Row, asked: Removal) -> list[str]:
    """Remove the node of a row and all nodes below it, and return their URLs; see `cvcache.cdir_remove`.

    Parameters
    ----------
    tree : Tree
    row : Row
    asked : Removal
        What somebody was told would go.

    Raises
    ------
    NodeBusy
        A live owner is writing one of them.
    UsageError
        The row is no directory of cvcache's, or what is there is not what was told.

    Notes
    -----
    What `removal` costs, and what `cvcache.cdir_remove` does.
    """
    _check_same(row, asked, removal(tree, row))
    gone = cdir_remove(row.node.snapshot(), recursive=True)
    tree.look([row.path])
    return gone


def withdraw(tree: Tree, row: Row, asked: Removal) -> list[str]:
    """Remove the result of one node, so that the next run computes it; the nodes below it stay.

    See `remove`, but for `asked`, which is a `removal` with ``below=False``.
    """
    _check_same(row, asked, removal(tree, row, below=False))
    node = row.node
    check_removal(node.store, node.location, node.policy, force=False)
    gone = remove_node(node.store, node.location, node.policy, force=False)
    tree.look([row.path])
    return [node.url] if gone else []


def _check_same(row: Row, asked: Removal, found: Removal) -> None:
    if (asked.urls, asked.attempts) != (found.urls, found.attempts):
        msg = f"{row.url} is not what it was when you were asked, so nothing was removed; look at it and ask again"
        raise UsageError(msg)


def _is_node(state: str) -> bool:
    return state not in {"folder", "foreign", "absent"}


def _check(row: Row) -> None:
    if row.is_item:
        msg = f"{row.url} is a part of its node, and a commit does not change; remove the node {row.node.url}"
        raise UsageError(msg)
    if row.kind == "foreign":
        msg = f"{row.url} was not written by cvcache, which deletes only what it created; remove it by hand"
        raise UsageError(msg)
