"""What the tree offers to do is said before, does just that, and its Python runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from child import child

import cvcache
from cvcache.browse import Removal, Tree, as_python, removal, remove, withdraw
from cvcache.errors import NodeBusy, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.store_cases import LocalCase, StoreCase


@cvcache.step
def source(out: cvcache.CacheDir) -> None:
    out.write("1 class.json", {"n": 1})
    with cvcache.cdir_init(out / "inner") as inner:
        if not inner.committed:
            inner.write("image.ome.zarr", np.ones((4, 4), "u1"), axes="yx")


@cvcache.step
def derived(out: cvcache.CacheDir, numbers: cvcache.Item) -> None:
    out.write("sum.json", {"sum": numbers.read()["n"]})


@cvcache.step
def doubled(out: cvcache.CacheDir, total: cvcache.Item) -> None:
    out.write("sum.json", {"sum": 2 * total.read()["sum"]})


def laid(case: StoreCase) -> Tree:
    root = cvcache.cdir(case.url, **case.options)
    first = derived(root / "derived", source(root / "source")["1 class.json"])
    doubled(root / "doubled", first["sum.json"])
    case.put("source/notes.txt", b"mine")
    opened = Tree(case.url, **case.options)
    opened.open()
    opened.look([row.path for row in opened.expand("").rows])
    opened.expand("source")
    opened.look(["source/inner"])
    return opened


@pytest.fixture
def tree(store_case: StoreCase) -> Iterator[Tree]:
    opened = laid(store_case)
    yield opened
    opened.close()


def row(tree: Tree, path: str):  # noqa: ANN201 - a Row, which is there
    found = tree.row(path)
    assert found is not None
    return found


def test_a_removal_names_what_goes_and_then_that_goes_and_nothing_else(tree: Tree, store_case: StoreCase) -> None:
    asked = removal(tree, row(tree, "source"))
    assert asked.urls == (f"{tree.url}/source", f"{tree.url}/source/inner")
    assert asked.outdated == (f"{tree.url}/derived", f"{tree.url}/doubled")
    assert (asked.items, asked.size > 0) == (3, True)
    text = asked.text()
    assert text.startswith("2 nodes with 3 items")
    assert all(url in text for url in (*asked.urls, *asked.outdated))
    assert sorted(remove(tree, row(tree, "source"), asked)) == sorted(asked.urls)
    assert row(tree, "source").state == "absent"
    assert row(tree, "derived").state == "stale"
    assert store_case.read("source/notes.txt") == b"mine"


def test_a_withdrawal_leaves_the_nodes_below(tree: Tree) -> None:
    asked = removal(tree, row(tree, "source"), below=False)
    assert asked.urls == (f"{tree.url}/source",)
    assert withdraw(tree, row(tree, "source"), asked) == [f"{tree.url}/source"]
    assert row(tree, "source").state == "absent"
    assert tree.look(["source/inner"])[0].state == "committed"
    root = cvcache.cdir(tree.top)
    assert source(root / "source").computed


@pytest.mark.parametrize("below", [False, True])
def test_what_came_after_the_question_is_not_removed(tree: Tree, *, below: bool) -> None:
    asked = removal(tree, row(tree, "source"), below=below)
    if below:
        with cvcache.cdir_init(cvcache.cdir(tree.top) / "source" / "new") as new:
            new.write("a.json", 1)
    else:
        source.options(force=True)(cvcache.cdir(tree.top) / "source")
    with pytest.raises(UsageError, match="nothing was removed"):
        (remove if below else withdraw)(tree, row(tree, "source"), asked)
    assert cvcache.cdir_query(cvcache.cdir(tree.top) / "source").committed


def test_asking_leaves_the_row_as_it_was_seen(tree: Tree) -> None:
    before = row(tree, "source").record
    source.options(force=True)(cvcache.cdir(tree.top) / "source")
    removal(tree, row(tree, "source"))
    assert row(tree, "source").record == before


def test_a_directory_with_an_odd_name_is_not_taken_for_the_one_above_it(store_case: StoreCase) -> None:
    with cvcache.cdir_init(cvcache.cdir(f"{store_case.url}/exp", **store_case.options)) as node:
        node.write("a.json", 1)
    store_case.put("exp/raw [1]/x.txt", b"mine")
    tree = Tree(store_case.url, **store_case.options)
    tree.open()
    tree.expand("")
    tree.look(["exp"])
    tree.expand("exp")
    tree.look(["exp/raw [1]"])
    odd = row(tree, "exp/raw [1]")
    assert (odd.state, odd.url) == ("foreign", f"{store_case.url}/exp/raw [1]")
    with pytest.raises(UsageError):
        remove(tree, odd, Removal((), 0, 0))
    assert as_python([odd]).endswith(f"raw_1 = {odd.url!r}\n")
    assert cvcache.cdir_query(f"{store_case.url}/exp", **store_case.options).committed
    tree.close()


def test_a_node_that_is_written_is_not_removed(local_case: LocalCase) -> None:
    import subprocess
    import sys

    code = f"import sys, cvcache; d = cvcache.cdir_init({local_case.url + '/n'!r}); print('open', flush=True); input()"
    with child([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        tree = Tree(local_case.url)
        tree.open()
        tree.expand("")
        tree.look(["n"])
        for act, below in ((withdraw, False), (remove, True)):
            with pytest.raises(NodeBusy):
                act(tree, row(tree, "n"), removal(tree, row(tree, "n"), below=below))
        tree.close()
        other.kill()


def test_what_is_no_node_is_refused(tree: Tree, store_case: StoreCase) -> None:
    store_case.put("foreign/x.txt", b"1")
    tree.look([one.path for one in tree.expand("").rows])
    for path in ("source/1 class.json", "foreign"):
        for act in (withdraw, remove):
            with pytest.raises(UsageError, match=r"commit does not change|not written by cvcache"):
                act(tree, row(tree, path), Removal((), 0, 0))
    assert store_case.read("foreign/x.txt") == b"1"


def test_the_python_of_rows_runs(local_case: LocalCase) -> None:
    tree = laid(local_case)
    tree.expand("source/inner")
    code = as_python([row(tree, path) for path in ("source", "source/1 class.json", "source/inner/image.ome.zarr")])
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102 - that it runs is what the test is about
    assert names["_1_class"] == {"n": 1}
    assert names["source"] == cvcache.cdir(tree.top) / "source"
    assert np.asarray(names["image"]).sum() == 16
    tree.close()


def test_no_storage_option_is_in_the_python_of_rows(s3_case: StoreCase) -> None:
    tree = laid(s3_case)
    code = as_python([row(tree, "source/1 class.json")])
    assert "# storage options" in code
    assert s3_case.options["secret"] not in code
    assert "127.0.0.1" not in code
    tree.close()


def test_the_python_of_a_foreign_image_opens_it(local_case: LocalCase) -> None:
    import zarr

    zarr.save_array(f"{local_case.url}/data/old.zarr", np.ones((3, 3)))
    tree = Tree(local_case.url)
    tree.open()
    tree.expand("")
    tree.look(["data"])
    tree.expand("data")
    code = as_python([row(tree, "data/old.zarr")])
    assert code.startswith("from cvcache import open_image\n")
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102 - that it runs is what the test is about
    assert np.asarray(names["old"]).sum() == 9
    tree.close()


def test_the_python_of_a_foreign_file_is_its_path(local_case: LocalCase) -> None:
    local_case.put("data/table.csv", b"a,b")
    tree = Tree(local_case.url)
    tree.open()
    tree.expand("")
    tree.look(["data"])
    tree.expand("data")
    assert as_python([row(tree, "data/table.csv")]) == f"table = {local_case.url + '/data/table.csv'!r}\n"
    tree.close()


def test_no_rows_are_no_python() -> None:
    assert as_python([]) == ""
