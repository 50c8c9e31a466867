"""No cache: the same script runs, gives the same values, and keeps nothing."""

from __future__ import annotations

import gc
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cvcache

if TYPE_CHECKING:
    from servers.store_cases import MemoryCase

runs: list[str] = []


@cvcache.step(version=1)
def halve(out: cvcache.CacheDir, image: cvcache.Item) -> None:
    runs.append(out.name)
    out.write("half.ome.zarr", image.read() // 2, axes=image.meta["axes"], scale=image.meta["scale"])


def script(root: cvcache.CacheDir) -> dict[str, Any]:
    """Do what a user's script does: init, guard, write, commit by handle, step, cached, query, path, open."""
    with cvcache.cdir_init(root / "raw", {"n": 1}) as raw:
        if not raw.committed:
            raw.write("image.ome.zarr", np.arange(90000, dtype="u2").reshape(300, 300), axes="yx", scale=(0.5, 0.25))
            raw.write("stats.json", {"n": 1})
            raw.write("notes.txt", "plain")
    query = cvcache.cdir_init(root / "by-hand")
    if not query.commit:
        with query.open("tool.txt", "wb") as file:
            file.write(b"by hand")
        Path(query.path("other.txt")).write_text("by another tool")
        cvcache.cdir_commit(root / "by-hand")
    half = halve(root / "half", raw["image.ome.zarr"])
    found = cvcache.cdir_query(root / "by-hand")
    with found.open("tool.txt") as file:
        tool = file.read()
    return {
        "half": half.read("half.ome.zarr"),
        "small": half.read("half.ome.zarr", level=1),
        "meta": {name: half["half.ome.zarr"].meta[name] for name in ("shape", "dtype", "axes", "scale", "levels")},
        "stats": raw["stats.json"].read(),
        "items": [item.name for item in raw.items()],
        "states": [raw.state, half.state, found.state, (root / "nothing").state],
        "cached": root.cached("answer.json", lambda: [6, 7]),
        "tool": tool,
        "other": Path(found["other.txt"]).read_text(),
        "contains": ["stats.json" in raw, "other.json" in raw],
        "computed": half.computed,
    }


def test_the_same_script_gives_the_same_values(tmp_path: Path) -> None:
    kept, unkept = script(cvcache.cdir(tmp_path / "tree")), script(cvcache.cdir(None))
    for name, value in kept.items():
        np.testing.assert_equal(unkept[name], value, err_msg=name)
    assert runs == ["half", "half"]
    script(cvcache.cdir(tmp_path / "tree"))
    assert runs == ["half", "half"]
    script(cvcache.cdir(None))
    assert runs == ["half"] * 3


def test_nothing_is_found_again_and_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = cvcache.cdir(None)
    with cvcache.cdir_init(root / "a") as node:
        node.write("image.ome.zarr", np.zeros((4, 4), "u1"))
    place = Path(node["image.ome.zarr"])
    assert place.is_dir()
    assert [child.name for child in root.children()] == ["a"]
    assert not cvcache.cdir_init(root / "a").committed
    del node
    gc.collect()
    assert not place.exists()
    assert not (root / "a").committed
    assert list(tmp_path.iterdir()) == []


def test_what_nobody_holds_is_kept_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    root = cvcache.cdir(None)
    for number in range(5):
        with cvcache.cdir_init(root / f"n{number}") as node:
            node.write("image.ome.zarr", np.zeros((4, 4), "u1"))
            node.write("stats.json", number)
        assert node["image.ome.zarr"].meta["levels"] == 1
    gc.collect()
    assert [child.name for child in root.children()] == ["n4"]
    assert len(list(tmp_path.iterdir())) == 1
    del node
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_an_older_handle_keeps_what_it_read() -> None:
    root, nodes = cvcache.cdir(None), []
    for number in range(2):
        with cvcache.cdir_init(root / "a") as node:
            node.write("stats.json", number)
        nodes.append(node)
    assert [node.read("stats.json") for node in nodes] == [0, 1]
    assert (root / "a").read("stats.json") == 1


def test_a_reader_cannot_change_what_another_reads() -> None:
    with cvcache.cdir_init(None) as node:
        image = np.zeros((4, 4), "u1")
        node.write("image.ome.zarr", image)
    node.read("image.ome.zarr")[:] = 1
    assert not node.read("image.ome.zarr").any()


def test_a_lazy_array_stays_lazy() -> None:
    import dask.array as da

    with cvcache.cdir_init(None) as node:
        node.write("image.ome.zarr", da.ones((40, 40), chunks=10))
    assert node.read("image.ome.zarr").chunks == ((10,) * 4, (10,) * 4)
    assert node["image.ome.zarr"].meta["levels"] == 1
    assert np.asarray(node.read("image.ome.zarr")).sum() == 1600


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda node: node.write("a.jsn", 1), cvcache.UnknownFormat),
        (lambda node: node.write("a.json", (1, 2)), cvcache.NotReproducible),
        (lambda node: node.write("a.json", 1, indnt=2), cvcache.UnknownOption),
        (lambda node: node.write("a/b.json", 1), cvcache.InvalidName),
        (lambda node: node / "a.zarr", cvcache.InvalidName),
        (lambda node: node.read("b.json"), cvcache.ItemNotFound),
        (lambda node: node.open("b.json"), cvcache.ItemNotFound),
        (lambda node: node["b.json"].meta, cvcache.ItemNotFound),
    ],
)
def test_what_is_wrong_with_a_cache_is_wrong_without(act: Any, error: type[Exception], memory_case: MemoryCase) -> None:
    for where in (memory_case.url, None):
        with pytest.raises(error):
            act(cvcache.cdir_init(where))


def test_a_committed_node_takes_no_more_writes() -> None:
    with cvcache.cdir_init(None) as node:
        node.write("a.json", 1)
    with pytest.raises(cvcache.NodeCommitted):
        node.write("b.json", 1)


def test_a_failure_commits_nothing() -> None:
    node = cvcache.cdir_init(None)
    with pytest.raises(ZeroDivisionError), node:
        node.write("a.json", 1 // 0)
    assert not node.committed


def test_another_process_can_read_it() -> None:
    with cvcache.cdir_init(None) as node:
        node.write("image.ome.zarr", np.arange(16).reshape(4, 4))
        node.write("stats.json", 1)
    other = pickle.loads(pickle.dumps(node["stats.json"])).node  # noqa: S301 - our own bytes
    np.testing.assert_array_equal(other.read("image.ome.zarr"), np.arange(16).reshape(4, 4))
    assert (other.read("stats.json"), other.committed) == (1, True)


def test_a_root_that_was_pickled_works(tmp_path: Path) -> None:
    root = pickle.loads(pickle.dumps(cvcache.cdir(None)))  # noqa: S301 - our own bytes
    assert (root / "a").state == "absent"
    node = pickle.loads(pickle.dumps(halve(root / "a", filled(root / "raw")["image.ome.zarr"])))  # noqa: S301 - the same
    assert node.refresh().committed
    assert [child.name for child in node.parent.children()] == ["a"]
    with root.log():
        pass
    with pytest.raises(cvcache.NotOpen):
        cvcache.cdir_commit(root / "never")
    with pytest.raises(cvcache.UsageError, match="keeps nothing"):
        _ = cvcache.cdir_query(root / "never")["a.json"].url
    assert cvcache.cdir_copy(tmp_path / "tree", None) == []


def filled(node: cvcache.CacheDir) -> cvcache.CacheDir:
    with cvcache.cdir_init(node) as out:
        out.write("image.ome.zarr", np.arange(16, dtype="u2").reshape(4, 4), axes="yx", scale=(0.5, 0.25))
    return out


def test_what_is_held_is_copied(tmp_path: Path) -> None:
    root = cvcache.cdir(None)
    node = filled(root / "nocache" / "x")
    assert [child.name for child in root.children()] == ["nocache"]
    (copy,) = cvcache.cdir_copy(root, tmp_path / "tree")
    np.testing.assert_array_equal(copy["image.ome.zarr"], node["image.ome.zarr"])
    assert copy["image.ome.zarr"].meta["scale"] == [0.5, 0.25]


def test_the_item_is_what_was_written_last() -> None:
    image = np.zeros((4, 4), "u1")
    with cvcache.cdir_init(None) as node:
        node.write("image.npy", image)
        image[:] = 1
        assert not node.read("image.npy").any()
        with node.open("image.npy", "wb") as file:
            np.save(file, image)
    assert node.read("image.npy").all()
