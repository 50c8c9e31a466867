"""A filter of the rows of a tree that were read, and a search that reads the rest of the tree."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

from cvcache.browse.rows import Level, Row
from cvcache.browse.tree import Tree
from cvcache.errors import CvcacheError

MAX_MATCHES = 1000


def matches(row: Row, query: str) -> bool:
    """Whether a row has all words of `query`; no store call.

    Parameters
    ----------
    row : Row
    query : str
        Words, in any case. Each is a part of the name, or the beginning of the state, kind or dtype; with ``*`` a
        pattern of the whole name. ``name:``, ``state:``, ``kind:`` and ``dtype:`` before a word choose the field. An
        empty query matches every row.
    """
    return all(_matches_word(row, word) for word in query.casefold().split())


def _matches_word(row: Row, word: str) -> bool:
    texts = {"name": row.name, "state": row.state, "kind": row.kind, "dtype": row.dtype}
    field, colon, value = word.partition(":")
    if not (colon and field in texts):
        return any(_matches_field(name, text.casefold(), word) for name, text in texts.items())
    return _matches_field(field, texts[field].casefold(), value)


def _matches_field(field: str, text: str, word: str) -> bool:
    if field == "name":
        return fnmatchcase(text, word) if "*" in word else word in text
    return text.startswith(word)


def search(
    tree: Tree, query: str, *, most: int = MAX_MATCHES, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Level | Row]:
    """Read a tree level by level, from the top, and yield each level and each row that matches.

    Parameters
    ----------
    tree : Tree
        Opened.
    query : str
        As of `matches`.
    most : int
        Matching rows after which it ends.
    stopped : callable
        Called before each level; true ends the search.

    Notes
    -----
    The cost of `Tree.expand` and `Tree.look` for each level. Foreign directories are not searched; levels that cannot
    be read, or are removed during the search, are skipped.
    """
    matched, waiting = 0, deque([""])
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
                matched += 1
                if matched == most:
                    return
            if row.branch and row.kind != "foreign":
                waiting.append(path)
