"""A filter keeps what has all words; a search opens what nobody has opened yet."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

import cvcache
from cvcache.browse import Level, Row, Tree, item_row, matches, search, unread_row
from cvcache.node import snapshot_of
from cvcache.testing import lay_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.store_cases import LocalCase, MemoryCase

NODE = cvcache.cdir("memory://find/labels")
ITEM = item_row("labels", snapshot_of(NODE), "stale", "Nuclei.ome.zarr", {"kind": "labels", "dtype": "uint32"})


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ("", True),
        ("nuclei", True),
        ("NUC zarr", True),
        ("nuclei image", False),
        ("stale", True),
        ("state:stale", True),
        ("state:failed", False),
        ("kind:labels uint", True),
        ("kind:nuclei", False),
        ("name:labels", False),
        ("*.ome.zarr", True),
        ("nuclei*", True),
        ("zarr*", False),
        ("state:", True),
        ("C:colon", False),
    ],
)
def test_a_filter_means_all_its_words(query: str, *, fits: bool) -> None:
    assert matches(ITEM, query) is fits


@pytest.fixture
def tree(memory_case: MemoryCase) -> Iterator[Tree]:
    lay_tree(memory_case.url, 13, fan_out=3)
    with contextlib.suppress(ZeroDivisionError), cvcache.cdir_init(f"{memory_case.url}/node001/node002/wrong"):
        _ = 1 / 0
    opened = Tree(memory_case.url)
    opened.open()
    yield opened
    opened.close()


def test_a_search_finds_what_was_never_opened(tree: Tree) -> None:
    found = [row for row in search(tree, "failed") if isinstance(row, Row)]
    assert [row.path for row in found] == ["node001/node002/wrong"]


def test_a_search_yields_each_level_before_its_rows_nearest_first(tree: Tree) -> None:
    seen: list[str] = []
    for step in search(tree, "node002"):
        if isinstance(step, Level):
            seen.append(f"{step.path}/")
        else:
            assert f"{step.path.rpartition('/')[0]}/" in seen
            seen.append(step.path)
    depths = [step.count("/") for step in seen if not step.endswith("/")]
    assert depths == sorted(depths)
    assert "node002" in seen


def test_a_search_ends_when_it_has_enough_or_is_stopped(tree: Tree) -> None:
    assert len([row for row in search(tree, "stats.json", most=2) if isinstance(row, Row)]) == 2
    assert list(search(tree, "stats.json", stopped=lambda: True)) == []


def test_a_search_goes_on_where_a_directory_cannot_be_read(local_case: LocalCase) -> None:
    lay_tree(local_case.url, 4, fan_out=3)
    closed = local_case.path / "node000" / "_cvcache" / "log"
    for record in closed.iterdir():
        record.write_bytes(b"no record")
    tree = Tree(local_case.url)
    tree.open()
    found = [row.path for row in search(tree, "stats.json state:committed") if isinstance(row, Row)]
    assert found == ["stats.json", "node001/stats.json", "node002/stats.json"]
    tree.close()


def test_an_unseen_row_fits_by_its_name_alone() -> None:
    row = unread_row("labels", snapshot_of(NODE))
    assert matches(row, "lab")
    assert not matches(row, "state:committed")
