"""The items a worker writes, each with the mark of its attempt, and how a reader judges them.

The mark is the id of the attempt that wrote. A committed read is good if every item is there in its
full length and carries the mark of the attempt the commit names.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cvcache import register_format
from cvcache.errors import CvcacheError
from cvcache.node import snapshot_of

if TYPE_CHECKING:
    from cvcache import CacheDir
    from cvcache.formats import FormatModule, ItemPath

__all__ = ["NAMES", "PIECES", "block", "judge", "judge_files", "write_items"]

PIECES = 5
_BLOCK_MARKS = 2048
_ROWS = 200
NAMES = ("block.bin", "cells.pieces.dir", "run.log", "table.json")


class _Pieces:
    """A directory item of several objects, each holding the same bytes."""

    def write(self, place: ItemPath, obj: object, /, *, pieces: int = PIECES) -> dict[str, Any]:
        assert isinstance(obj, bytes)
        for number in range(pieces):
            place.put(obj, f"{number}/piece")
        return {"kind": "array", "pieces": pieces}

    def read(self, place: ItemPath, /) -> list[bytes]:
        return [place.get(f"{number}/piece") for number in range(int(place.meta["pieces"]))]

    def describe(self, place: ItemPath) -> dict[str, Any]:
        return {"kind": "array", "pieces": len(place.find())}


register_format("pieces.dir", cast("FormatModule", _Pieces()), directory=True)


def block(mark: str) -> bytes:
    """Give 32 KiB of one mark."""
    return mark.encode() * _BLOCK_MARKS


def write_items(node: CacheDir, pieces: int = PIECES) -> None:
    """Fill an open node; its directory item has as many pieces."""
    mark = node.version
    node.write("table.json", {"mark": mark, "rows": list(range(_ROWS))})
    data = block(mark)
    with node.open("block.bin", "wb") as file:
        for start in range(0, len(data), 8192):
            file.write(data[start : start + 8192])
    node.write("cells.pieces.dir", block(mark), pieces=pieces)
    node.write("run.log", f"{mark}\n" * 20)


def judge(node: CacheDir, pieces: int = PIECES) -> list[str]:
    """Read every item of a committed node and say what is wrong with it; nothing for a good one.

    Raises
    ------
    NodeReplaced, NodeRemoved
        The honest answer to a reader whose commit is no longer the newest.
    """
    record = snapshot_of(node).record
    assert record is not None
    mark = record.attempt
    wrong = []
    names = tuple(item.name for item in node.items())
    if names != NAMES:
        wrong.append(f"it has {names}")
    with node.open("block.bin") as file:
        if file.read() != block(mark):
            wrong.append("block.bin is another's")
    if node.read("cells.pieces.dir") != [block(mark)] * pieces:
        wrong.append("cells.pieces.dir is another's")
    if node.read("run.log") != f"{mark}\n" * 20:
        wrong.append("run.log is another's")
    if node.read("table.json") != {"mark": mark, "rows": list(range(_ROWS))}:
        wrong.append("table.json is another's")
    return [f"commit {mark}: {what}" for what in wrong]


def judge_files(path: str) -> list[str]:
    """Look at the plain files as another program would, committed or not: each is whole or not there."""
    wrong = []
    for name in ("block.bin", "cells.pieces.dir/3/piece"):
        try:
            size = Path(path, name).stat().st_size
        except OSError:
            continue
        if size != len(block("0" * 16)):
            wrong.append(f"{name} has {size} bytes")
    return wrong


def honest(error: CvcacheError) -> bool:
    """Whether an error tells a reader that the commit it holds was followed by another record."""
    return type(error).__name__ in {"NodeReplaced", "NodeRemoved"}
