"""dir: conformance and what is special about several files as one item."""

from __future__ import annotations

import importlib.metadata
import json
import pickle
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from format_cases import FormatTests, new_place

from cvcache import cdir_init, cdir_query, cdir_remove, cdir_verify
from cvcache.errors import ItemDamaged, NodeReplaced, NotReproducible, UnknownFormat, UsageError
from cvcache.formats import Format, ItemPath, ItemWrite, find_format, registry
from cvcache.node import address_of
from cvcache.store import instrument
from cvcache.testing import CountingStore, FaultyStore, SimulatedCrash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cvcache.store import Store

FORM = find_format("chips.dir")
CHIPS = {"a.tif": b"one", "deep/er/b.tif": b"two", "empty": b""}


class Lazy(Mapping[str, bytes]):
    """A mapping that makes its bytes when asked."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    def __getitem__(self, name: str) -> Any:
        return self.content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lazy) and self.content == other.content

    __hash__ = None  # type: ignore[assignment]


class TestDirectory(FormatTests):
    name = "chips.dir"
    good: ClassVar = {
        "files": lambda: dict(CHIPS),
        "nothing": dict,
        "lazy": lambda: Lazy(dict(CHIPS)),
        "odd names": lambda: {"with space.txt": b"1", "umlaut-\u00fc": b"2", "q?.txt": b"3", "x.zarr/c/0": b"4"},
    }
    bad: ClassVar = {
        "list": lambda: ["a"],
        "bytes": lambda: b"a",
        "text as content": lambda: {"a": "text"},
        "number as name": lambda: {1: b""},
        **{
            name: lambda name=name: {"fine": b"", name: b"1"}
            for name in (
                "../a",
                "a/../b",
                "/a",
                "a//b",
                "a/",
                "./a",
                "",
                "a\\b",
                "a\0",
                "_cvcache/index.json",
                "u\u0308",
            )
        },
        "a file that is a directory": lambda: {"a": b"", "a/b": b""},
    }

    def equal(self, written: Any, read: Any) -> bool:
        return dict(written) == dict(read) and set(read) == set(written)


@pytest.fixture(params=["memory", "disk"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "disk":
        yield str(tmp_path / "tree" / "node")
        return
    url = f"memory://dirs/{uuid.uuid4().hex}"
    yield url
    cdir_remove(url, force=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a local directory with the chips."""
    for name, data in CHIPS.items():
        (tmp_path / "made" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "made" / name).write_bytes(data)
    (tmp_path / "made" / "hollow").mkdir()
    return tmp_path / "made"


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("spelled", [str, Path, lambda folder: f"{folder}/"])
def test_a_local_directory_is_kept_and_copied_out(url: str, folder: Path, spelled: Callable[[Path], Any]) -> None:
    with cdir_init(url) as node:
        node.write("chips.dir", spelled(folder))
    chips = cdir_query(url).read("chips.dir")
    assert dict(chips) == CHIPS
    assert chips.copy_to(folder.parent / "new" / "copy") == str(folder.parent / "new" / "copy")
    assert files_below(folder.parent / "new" / "copy") == CHIPS
    assert [path.name for path in (folder.parent / "new").iterdir()] == ["copy"]


def test_a_copy_takes_the_place_of_nothing(url: str, folder: Path) -> None:
    with cdir_init(url) as node:
        node.write("chips.dir", CHIPS)
    for path in (folder, folder / "empty"):
        with pytest.raises(FileExistsError, match="to another path"):
            cdir_query(url).read("chips.dir").copy_to(path)


def test_a_copy_that_fails_leaves_nothing(url: str, tmp_path: Path) -> None:
    with cdir_init(url) as node:
        node.write("chips.dir", CHIPS)
    node = cdir_query(url)
    chips = node.read("chips.dir")
    address_of(node).store.put(f"{address_of(node).path}/chips.dir/deep/er/b.tif", b"six")
    with pytest.raises(ItemDamaged, match=r"b\.tif holds 3 bytes that are not the 3 written"):
        chips.copy_to(tmp_path / "out" / "copy")
    assert list((tmp_path / "out").iterdir()) == []


def test_files_are_read_one_by_one_when_asked_for(url: str) -> None:
    with cdir_init(url) as node:
        node.write("chips.dir", CHIPS)
    stores: list[CountingStore] = []

    def counting(store: Store) -> CountingStore:
        stores.append(CountingStore(store))
        return stores[-1]

    with instrument(counting):
        node = cdir_query(url)
        before = stores[-1].counts["get"]
        chips = node.read("chips.dir")
        assert (len(chips), "a.tif" in chips, chips.size("a.tif")) == (3, True, 3)
        assert stores[-1].counts["get"] == before + 1
        assert chips["a.tif"] == b"one"
        assert stores[-1].counts["get"] == before + 2
    with pytest.raises(KeyError):
        chips["b.tif"]
    assert pickle.loads(pickle.dumps(chips)) == CHIPS  # noqa: S301
    assert "3 files" in repr(chips)


def test_what_a_tool_wrote_is_a_mapping_too(tmp_path: Path) -> None:
    with cdir_init(tmp_path / "node") as node:
        made = Path(node.path("chips.dir"))
        for name, data in CHIPS.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_bytes(data)
        with pytest.raises(ItemDamaged, match="not complete"):
            node.read("chips.dir")
    node = cdir_query(tmp_path / "node")
    assert node["chips.dir"].meta == {"kind": "file", "files": 3, "objects": 3, "bytes": 6}
    chips = node.read("chips.dir")
    assert dict(chips) == CHIPS
    (made / "a.tif").write_bytes(b"longer")
    with pytest.raises(ItemDamaged, match="not the 3 written"):
        chips["a.tif"]
    with pytest.raises(ItemDamaged, match="bytes are 9, where 6 were written"):
        node.read("chips.dir")
    (made / "a.tif").unlink()
    with pytest.raises(ItemDamaged, match="is gone"):
        chips["a.tif"]
    with pytest.raises(ItemDamaged, match="files are 2, where 3 were written"):
        node.read("chips.dir")


def test_an_item_is_written_into_another_node(url: str) -> None:
    with cdir_init(url) as node:
        node.write("chips.dir", CHIPS)
        node.write("more.dir", node["chips.dir"])
    assert cdir_query(url).read("more.dir") == CHIPS


def test_a_second_write_leaves_nothing_of_the_first(url: str) -> None:
    with cdir_init(url) as node:
        node.write("chips.dir", CHIPS)
        node.write("chips.dir", {"other": b"1"})
    node = cdir_query(url)
    assert node.read("chips.dir") == {"other": b"1"}
    assert set(address_of(node).store.find(f"{address_of(node).path}/chips.dir")) == {"other", "_cvcache/index.json"}
    assert cdir_verify(url) == []


def test_a_look_at_everything_finds_the_file_that_is_corrupt(url: str) -> None:
    with cdir_init(url) as node:
        node.write("chips.dir", CHIPS)
    node = cdir_query(url)
    address_of(node).store.put(f"{address_of(node).path}/chips.dir/a.tif", b"eno")
    assert [(found.part, found.fault) for found in cdir_verify(url)] == [
        ("a.tif", "corrupt (its checksum does not fit)")
    ]


def test_without_a_cache_it_is_the_same() -> None:
    node = cdir_init(None)
    node.write("chips.dir", CHIPS)
    assert node.read("chips.dir") == CHIPS


def test_files_of_another_commit_are_not_taken_for_these(url: str) -> None:
    with cdir_init(url) as node:
        node.write("chips.dir", CHIPS)
    chips = cdir_query(url).read("chips.dir")
    with cdir_init(url, force=True) as node:
        node.write("chips.dir", {**CHIPS, "a.tif": b"eno"})
    with pytest.raises(NodeReplaced):
        chips["a.tif"]


def test_a_mapping_that_turns_out_to_hold_no_bytes_leaves_nothing(url: str) -> None:
    with cdir_init(url) as node:
        with pytest.raises(NotReproducible, match="not bytes"):
            node.write("chips.dir", Lazy({"a": b"1", "b": "text"}))
        assert "chips.dir" not in node
        assert address_of(node).store.find(f"{address_of(node).path}/chips.dir") == {}


@pytest.mark.parametrize("step", range(1, 6))
def test_a_crash_on_the_way_is_never_read_as_a_result(step: int) -> None:
    place = new_place("chips.dir")
    crashing = ItemWrite(FaultyStore(place.store, {step: "crash"}), place.path)
    try:
        FORM.write(crashing, CHIPS)
    except SimulatedCrash:
        with pytest.raises((ItemDamaged, FileNotFoundError)):
            FORM.read(place)
    else:
        assert step == 5
        assert FORM.read(place) == CHIPS
    place.store.delete(map(place.at, place.find()))


def test_a_directory_is_not_followed_out_of_itself(folder: Path) -> None:
    place = new_place("chips.dir")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    with pytest.raises(NotReproducible, match="is a link to a directory"):
        FORM.write(place, folder)
    assert place.find() == {}


def test_a_path_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "none", str(tmp_path / "file")):
        with pytest.raises(UsageError, match="there is no directory at"):
            FORM.write(new_place("chips.dir"), path)


@pytest.mark.parametrize(
    "index", [b"", b"[]", b'{"a": 1}', b'{"a": [1]}', b'{"../a": [1, "x"]}', b'{"a": [1, null]}', b'{"a": ["1", "x"]}']
)
def test_an_index_is_not_believed(index: bytes) -> None:
    place = new_place("chips.dir")
    place.put(index, "_cvcache/index.json")
    for act in (FORM.read, FORM.describe):
        with pytest.raises(ItemDamaged):
            act(place)
    place.store.delete(map(place.at, place.find()))


def test_an_index_of_others_is_noticed(url: str) -> None:
    with cdir_init(url) as node:
        node.write("chips.dir", CHIPS)
    node = cdir_query(url)
    address_of(node).store.put(
        f"{address_of(node).path}/chips.dir/_cvcache/index.json", json.dumps({"a.tif": [3, "0" * 64]}).encode()
    )
    with pytest.raises(ItemDamaged, match="files are 1, where 3 were written"):
        node.read("chips.dir")


def test_a_format_of_its_own_goes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("tiles.dir", "plugin.module", "cvcache.formats")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [point])
    registry._plugin_formats.cache_clear()
    assert find_format("a.tiles.dir") == Format("tiles.dir", "plugin.module")
    assert find_format("run.1.dir").suffix == find_format("a.dir").suffix == "dir"
    registry._plugin_formats.cache_clear()


def test_files_of_a_format_that_is_not_registered_are_not_read_as_files(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tiles:
        @staticmethod
        def write(place: ItemPath, obj: bytes, /) -> dict[str, Any]:
            place.put(obj, "tile")
            return {"kind": "file", "tiles": 1}

        @staticmethod
        def read(place: ItemPath, /) -> bytes:
            return place.get("tile")

        @staticmethod
        def describe(_: ItemPath) -> dict[str, Any]:
            return {"kind": "file", "tiles": 1}

    url = f"memory://dirs/{uuid.uuid4().hex}"
    with monkeypatch.context() as patch:
        patch.setitem(registry._formats, "tiles.dir", Format("tiles.dir", Tiles))
        with cdir_init(url) as node:
            node.write("a.tiles.dir", b"1")
        assert cdir_query(url).read("a.tiles.dir") == b"1"
    with pytest.raises(UnknownFormat, match=r"register_format\('tiles\.dir'"):
        cdir_query(url).read("a.tiles.dir")
    cdir_remove(url)
