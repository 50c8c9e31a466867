"""Which rows of a tree somebody means: a filter of what is there, and a search through what nobody has opened yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

from cvcache.browse.rows import Level, Row
from cvcache.browse.tree import Tree
from cvcache.errors import CvcacheError

MOST_FOUND = 1000


def matches(row: Row, query: str) -> bool:
    """Whether a row has all words of `query`; no store call.

    Parameters
    ----------
    row : Row
    query : str
        Words, in any case. Each is a part of the name, or the beginning of the state, kind or dtype; with ``*`` a
        pattern of the whole name. ``name:``, ``state:``, ``kind:`` and ``dtype:`` before it say which of them is meant.
        No word fits every row.
    """
    return all(_fits(row, word) for word in query.casefold().split())


def _fits(row: Row, word: str) -> bool:
    told = {"name": row.name, "state": row.state, "kind": row.kind, "dtype": row.dtype}
    field, colon, value = word.partition(":")
    if not (colon and field in told):
        return any(_is_in(name, text.casefold(), word) for name, text in told.items())
    return _is_in(field, told[field].casefold(), value)


def _is_in(field: str, text: str, word: str) -> bool:
    if field == "name":
        return fnmatchcase(text, word) if "*" in word else word in text
    return text.startswith(word)


def search(
    tree: Tree, query: str, *, most: int = MOST_FOUND, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Level | Row]:
    """Read a tree level by level, nearest first, and yield each level and each row that matches.

    Parameters
    ----------
    tree : Tree
        Opened.
    query : str
        As of `matches`.
    most : int
        Matching rows after which it ends.
    stopped : callable
        Asked before each level; true ends the search.

    Notes
    -----
    What `Tree.expand` and `Tree.look` cost for each level. What lies below a foreign directory is left out, and so is
    what cannot be read, or is gone meanwhile.
    """
    found, waiting = 0, deque([""])
    while waiting and not stopped():
        try:
            level = tree.expand(waiting.popleft())
            tree.look([row.path for row in level.rows if row.unread])
        except (OSError, CvcacheError, KeyError):
            continue
        yield level
        for path in (row.path for row in level.rows):
            row = tree.row(path)
            if row is None:
                continue
            if matches(row, query):
                yield row
                found += 1
                if found == most:
                    return
            if row.branch and row.kind != "foreign":
                waiting.append(path)
