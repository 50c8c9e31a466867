"""Compare the items of committed nodes with their records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cvcache.formats import ItemPath, find_format, sha256
from cvcache.node import CacheDir, Snapshot, item_io, read_snapshot
from cvcache.store import is_item_dir
from cvcache.tree.api import resolve_address
from cvcache.tree.walk import walk_snapshots


@dataclass(frozen=True, slots=True)
class Damage:
    """One part of an item that is not what its commit vouched for.

    Attributes
    ----------
    node : CacheDir
    item : str
    part : str
        Key of the chunk or file in the item; empty for the item as a whole.
    fault : str
        "missing", or how it differs.
    """

    node: CacheDir
    item: str
    part: str
    fault: str

    def __str__(self) -> str:
        return f"{self.node[self.item].url}{f'/{self.part}' if self.part else ''} is {self.fault}"


def cdir_verify(where: object, *, recursive: bool = True, **storage_options: Any) -> list[Damage]:
    """Read everything that was committed at `where`, and return what is damaged.

    Parameters
    ----------
    where : str, os.PathLike, UPath or CacheDir
    recursive : bool
        Verify the nodes below it too.
    **storage_options
        What the store takes.

    Returns
    -------
    list of Damage
        Each names the chunk or file. Empty if nothing is damaged. Nodes that are not committed are left out.

    Raises
    ------
    NodeReplaced
        If a node was computed again meanwhile; verify it again.

    Notes
    -----
    One GET per object of every item, and one LIST per image. Files are compared by SHA-256, chunks of OME-Zarr 0.5 by
    their own checksum. Files a step wrote through ``open()`` or ``path()`` are compared by size alone.
    """
    top = resolve_address(where, **storage_options)
    if top.context.uncached is not None:
        return []
    nodes = walk_snapshots(top) if recursive else [read_snapshot(top)]
    return [damage for node in nodes if node.committed for damage in _damages(node)]


def _damages(node: Snapshot) -> Iterator[Damage]:
    for name, row in sorted(item_io.read_rows(node).items()):
        item = item_io.item_path(node, name, row)
        for part, fault in _faults(item, row):
            item.raise_if_replaced()
            yield Damage(CacheDir(node.address, node), name, part, fault)


def _faults(item: ItemPath, row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the damaged parts of one item, each with what is wrong."""
    if row.get("complete") and is_item_dir(item.name):
        from cvcache.image import damaged_chunks

        yield from damaged_chunks(item)
    elif is_item_dir(item.name):
        parts = item.find()
        counts = {"objects": len(parts), "bytes": sum(info.size for info in parts.values())}
        wrong = {name: count for name, count in counts.items() if row.get(name, count) != count}
        if wrong:
            difference = ", ".join(f"{count} {name} where {row[name]} were written" for name, count in wrong.items())
            yield "", f"incomplete: {difference}" if parts else "missing"
        elif "index" in row and find_format(item.name).suffix == "dir":
            from cvcache.formats import damaged_files

            yield from damaged_files(item)
    else:
        yield from _file_faults(item, row)


def _file_faults(item: ItemPath, row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    info = item.store.stat(item.path)
    if info is None:
        yield "", "missing"
    elif "size" in row and info.size != row["size"]:
        yield "", f"{info.size} bytes long, where {row['size']} were written"
    elif "sha256" in row and sha256(item.store.get(item.path)) != row["sha256"]:
        yield "", "corrupt (its checksum does not fit)"
