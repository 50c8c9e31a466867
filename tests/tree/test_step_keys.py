"""What makes a step compute again, and what does not: values, code, graphs, and what changes while a node is open."""

from __future__ import annotations

import dataclasses
import runpy
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from projects import Project

import cvcache
from cvcache import CacheDir

if TYPE_CHECKING:
    from servers.store_cases import LocalCase, MemoryCase, StoreCase


@pytest.fixture
def root(memory_case: MemoryCase) -> CacheDir:
    return cvcache.cdir(memory_case.url)


@cvcache.step(version=1)
def keep(out: CacheDir, value: object, *, scale: float = 1.0) -> None:
    out.write("text.txt", f"{value!r} {scale}")


def keyed_apart(root: CacheDir, *values: object) -> bool:
    """Whether each value is computed once, and is another one than the one before."""
    seen = [(keep(root / "n", value).computed, keep(root / "n", value).computed) for value in values]
    return seen == [(True, False)] * len(values)


# -- values --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Filter:
    sigma: float


def test_arguments_count_on_every_call(root: CacheDir) -> None:
    texts = [keep(root / "n", value).read("text.txt") for value in (1, 2, 3, 1)]
    assert texts == ["1 1.0", "2 1.0", "3 1.0", "1 1.0"]


# -- code ----------------------------------------------------------------------------------------------------------


def test_going_back_to_an_earlier_version_finds_its_result(root: CacheDir) -> None:
    def body(value: int) -> Any:
        def work(out: CacheDir) -> None:
            out.write("n.json", value)

        return cvcache.step(name="work", on_stale="new")(work)

    one, two = body(1), body(2)
    computed = [step(root / "n").computed for step in (one, two, one, two)]
    assert computed == [True, True, False, False]
    assert [step(root / "n").read("n.json") for step in (one, two)] == [1, 2]


# -- dask ----------------------------------------------------------------------------------------------------------


def test_a_lambda_in_a_dask_graph_has_a_key(root: CacheDir) -> None:
    import dask.array as da

    ones = da.ones((8, 8), chunks=4)
    assert keyed_apart(root, ones.map_blocks(lambda x: x + 1), ones.map_blocks(lambda x: x + 2))


def test_an_edited_function_in_a_dask_graph_is_seen(tmp_path: Path, root: CacheDir) -> None:
    """By whoever imports it anew; dask itself gives both arrays one name."""
    import dask.array as da

    def lazy(body: str) -> da.Array:
        project = Project(tmp_path / "project", cleaning=f"def clean(block):\n    return {body}\n")
        module = runpy.run_path(str(project.folder / "cleaning.py"), run_name="cleaning")
        return da.ones(4, chunks=2).map_blocks(module["clean"])

    assert keyed_apart(root, lazy("block + 1"), lazy("block + 2"), lazy("block + 1"))


def test_data_that_changed_under_a_lazy_array_are_seen(root: CacheDir, local_case: LocalCase) -> None:
    seen = []
    for value in (1, 2):
        with cvcache.cdir_init(local_case.child("raw"), {"value": value}) as d:
            d.write("raw.ome.zarr", np.full((16, 16), value, "u1"))
        image = cvcache.open_image(f"{local_case.child('raw')}/raw.ome.zarr")
        seen.append(keep(root / "n", image).computed)
    assert seen == [True, True]


def test_a_unit_that_ends_up_in_the_result_counts(root: CacheDir) -> None:
    xarray = pytest.importorskip("xarray")

    @cvcache.step(version=1)
    def write(out: CacheDir, image: Any) -> None:
        out.write("image.ome.zarr", image)

    units = []
    for unit in ("micrometer", "millimeter"):
        x = xarray.DataArray(np.arange(4.0), dims="x", attrs={"units": unit})
        image = xarray.DataArray(np.zeros((4, 4), "u1"), dims=("y", "x"), coords={"x": x})
        units.append(write(root / "n", image)["image.ome.zarr"].meta["unit"]["x"])
    assert units == ["micrometer", "millimeter"]


def test_a_voxel_size_that_was_corrected_counts(root: CacheDir, local_case: LocalCase) -> None:
    with cvcache.cdir_init(local_case.child("raw")) as d:
        d.write("raw.ome.zarr", np.zeros((8, 8), "u1"), scale=(2, 2))
    foreign = local_case.container / "foreign.ome.zarr"
    shutil.copytree(d["raw.ome.zarr"], foreign)

    @cvcache.step(version=1)
    def invert(out: CacheDir, image: Any) -> None:
        out.write("image.ome.zarr", 255 - image)

    def scale() -> Any:
        return invert(root / "n", cvcache.open_image(foreign))["image.ome.zarr"].meta["scale"]

    assert scale() == [2.0, 2.0]
    metadata = foreign / "zarr.json"
    metadata.write_text(metadata.read_text().replace("2.0", "5.0"))
    assert scale() == [5.0, 5.0]


def test_options_of_what_is_cached_count(root: CacheDir) -> None:
    def image() -> np.ndarray:
        return np.zeros((8, 8), "u1")

    scales = []
    for scale in (2.0, 5.0):
        root.cached("image.ome.zarr", image, scale=(scale, scale))
        scales.append((root / "image")["image.ome.zarr"].meta["scale"][0])
    assert scales == [2.0, 5.0]


def test_a_random_array_counts_by_its_seed_and_one_without_is_never_taken_for_another(root: CacheDir) -> None:
    import dask.array as da

    def noise(*seed: int) -> da.Array:
        return da.random.default_rng(*seed).random((8, 8), chunks=4)

    assert keyed_apart(root, noise(1), noise(2))
    assert keep(root / "n", noise()).computed
    node = keep(root / "n", noise())
    assert (node.computed, node.reason) == (True, ("args.value: layer 'random' changed",))


# -- what must not count -------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Tracker:
    """Settings that hold on to the cache they use."""

    level: float
    cache: CacheDir


def test_a_handle_that_an_object_holds_counts_by_what_it_holds_not_by_how_it_is_reached(root: CacheDir) -> None:
    made = keep(root / "made", 1)
    for handle in (made, cvcache.cdir_query(made.url), cvcache.cdir(made, ram="1MB")):
        node = keep(root / "n", Tracker(0.5, handle))
    assert node.computed is False
    assert keep(root / "n", Tracker(0.7, made)).computed


def test_one_more_case_computes_only_that_case(root: CacheDir) -> None:
    def dataset(*cases: str) -> list[str]:
        nodes = [keep(root / "cases" / case, case) for case in cases]
        return [node.name for node in nodes if node.computed]

    assert dataset("a", "b", "d") == ["a", "b", "d"]
    assert dataset("a", "b", "c", "d") == ["c"]


def test_force_gives_the_new_value_not_the_old(root: CacheDir) -> None:
    source = {"value": 1}
    step = cvcache.step(name="work", version=1)(lambda out: out.write("n.json", source["value"]) and None)
    assert step(root / "n").read("n.json") == 1
    source["value"] = 2
    assert step(root / "n").read("n.json") == 1
    assert step.options(force=True)(root / "n").read("n.json") == 2
    assert step(root / "n").read("n.json") == 2


def test_force_alone_leaves_what_followed_an_earlier_force(root: CacheDir) -> None:
    forced = keep.options(force=True)(root / "n", 1)
    assert keep(root / "next", forced["text.txt"]).computed
    alone = keep.options(force="alone")(root / "n", 1)
    assert alone.version == forced.version
    assert not keep(root / "next", alone["text.txt"]).computed


# -- what changes while a node is open -----------------------------------------------------------------------------


@cvcache.step(version=1)
def twice(out: CacheDir, item: cvcache.Item) -> None:
    out.write("twice.json", 2 * item.read())


def test_an_item_that_is_written_again_counts_as_another(root: CacheDir) -> None:
    values = []
    with cvcache.cdir_init(root / "loop") as d:
        for value in (1, 2):
            item = d.write("current.json", value)
            values.append(twice(d / "twice", item).read("twice.json"))
    assert values == [2, 4]


def test_an_image_that_is_written_again_counts_as_another(root: CacheDir) -> None:
    computed = []
    with cvcache.cdir_init(root / "loop") as d:
        for value in (1, 2):
            item = d.write("current.ome.zarr", np.full((8, 8), value, "u1"))
            computed.append(keep(d / "next", item).computed)
    assert computed == [True, True]


def test_what_was_computed_from_half_a_result_is_computed_again(root: CacheDir) -> None:
    node = cvcache.cdir_init(root / "half", {"a": 1})
    node.write("n.json", 1)
    early = twice(root / "twice", cvcache.cdir_query(root / "half")["n.json"])
    assert early.read("twice.json") == 2
    node.write("n.json", 5)
    cvcache.cdir_commit(node)
    assert early.state == "stale"
    assert twice(root / "twice", (root / "half")["n.json"]).read("twice.json") == 10


def by_cached(root: CacheDir, item: cvcache.Item) -> object:
    return root.cached("twice.json", lambda: 2 * item.read())


def by_step(root: CacheDir, item: cvcache.Item) -> object:
    @cvcache.step
    def work(out: CacheDir) -> None:
        out.write("twice.json", 2 * item.read())

    return work(root / "twice").read("twice.json")


def by_node(root: CacheDir, item: cvcache.Item) -> object:
    node = item.node
    return root.cached("twice.json", lambda: 2 * node.read(item.name))


def by_dask(root: CacheDir, item: cvcache.Item) -> object:
    import dask.array as da

    image = da.ones(1).map_blocks(lambda block: 2 * block * item.read(), dtype=float)
    return root.cached("twice.npy", lambda: np.asarray(image))[0]


@pytest.mark.parametrize("way", [by_cached, by_step, by_node, by_dask])
def test_an_item_that_a_function_encloses_counts_by_its_version(root: CacheDir, way: Any) -> None:
    values = []
    for value in (1, 2):
        with cvcache.cdir_init(root / "raw", {"value": value}) as d:
            item = d.write("raw.json", value)
        values.append(way(root, item))
    assert values == [2, 4]


@dataclasses.dataclass
class Kernel:
    """Settings that keep something else than what they were made of."""

    sigma: dataclasses.InitVar[float] = 1.0

    def __post_init__(self, sigma: float) -> None:
        self.weights = [sigma, 2 * sigma]


def test_an_object_whose_fields_do_not_tell_what_it_holds_is_no_value_of_another(root: CacheDir) -> None:
    try:
        assert keep(root / "n", Kernel(1.0)).computed
        assert keep(root / "n", Kernel(2.0)).computed
    except cvcache.UnkeyableValue as refused:
        assert "sigma" in str(refused)  # noqa: PT017 - to be refused is as right as to be told apart


def test_globals_that_change_between_two_calls_are_seen(root: CacheDir, monkeypatch: pytest.MonkeyPatch) -> None:
    @cvcache.step
    def use(out: CacheDir) -> None:
        out.write("n.json", [int(TABLE[0]), SETTINGS["level"], FILTER.sigma])

    assert use(root / "n").read("n.json") == [1, 1, 1.0]
    monkeypatch.setitem(SETTINGS, "level", 2)
    assert use(root / "n").read("n.json") == [1, 2, 1.0]
    monkeypatch.setitem(globals(), "FILTER", Filter(2.0))
    assert use(root / "n").read("n.json") == [1, 2, 2.0]
    TABLE[0] += 4
    assert use(root / "n").read("n.json") == [5, 2, 2.0]


TABLE: Any = np.array([1, 2, 3])
SETTINGS = {"level": 1}
FILTER = Filter(1.0)


def test_a_key_includes_the_whole_chain_above(root: CacheDir) -> None:
    @cvcache.step
    def first(out: CacheDir, value: int) -> None:
        out.write("value.json", value)

    def pipeline(value: int) -> CacheDir:
        second = twice(root / "second", first(root / "first", value)["value.json"])
        return twice(root / "third", second["twice.json"])

    assert pipeline(1).read("twice.json") == 4
    assert not pipeline(1).computed
    assert pipeline(2).read("twice.json") == 8


class Microscope:
    """A type with a part that does not matter: the time it was switched on."""

    def __init__(self, lens: str) -> None:
        self.lens, self.since = lens, time.monotonic_ns()


class Camera(Microscope):
    def __cvcache_key__(self) -> str:
        return self.lens


def test_a_type_says_what_stands_for_it(root: CacheDir) -> None:
    @cvcache.step(version=1)
    def work(out: CacheDir, device: Microscope) -> None:
        out.write("lens.txt", device.lens)

    with pytest.raises(cvcache.UnkeyableValue, match=r"register_key\(.*Microscope"):
        work(root / "refused", Microscope("40x"))
    assert work(root / "method", Camera("40x")).computed
    assert not work(root / "method", Camera("40x")).computed
    assert work(root / "method", Camera("63x")).computed


def test_a_hook_says_what_stands_for_somebody_elses_type(root: CacheDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvcache.keys.canonical._hooks", {})
    cvcache.register_key(Microscope, lambda device: device.lens)
    work = cvcache.step(name="work", version=1)(lambda out, device: out.write("lens.txt", device.lens) and None)
    assert work(root / "n", Microscope("40x")).computed
    assert not work(root / "n", Microscope("40x")).computed
    assert work(root / "n", Microscope("63x")).read("lens.txt") == "63x"


def refuse(block: np.ndarray, level: float) -> np.ndarray:
    msg = f"a block was computed for {level}, {block.shape}"
    raise AssertionError(msg)


def test_a_lazy_array_is_keyed_without_computing(root: CacheDir) -> None:
    import dask.array as da

    def lazy(level: float) -> da.Array:
        return da.ones((64, 64), chunks=16).map_blocks(refuse, level, dtype=float, meta=np.empty((0, 0)))

    @cvcache.step
    def shape(out: CacheDir, image: da.Array) -> None:
        out.write("shape.json", list(image.shape))

    assert shape(root / "shape", lazy(0.5)).computed
    assert not shape(root / "shape", lazy(0.5)).computed
    changed = shape(root / "shape", lazy(0.7))
    assert changed.computed
    assert changed.reason[0].startswith("args.image: layer 'refuse")


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_a_changed_input_file_counts(kind: str, root: CacheDir, request: pytest.FixtureRequest) -> None:
    case: StoreCase = request.getfixturevalue(f"{kind}_case")

    @cvcache.step(version=1)
    def size(out: CacheDir, source: str) -> None:
        out.write("size.json", [source, len(case.read("input.bin"))])

    for data in (b"123", b"12345"):
        case.put("input.bin", data)
        node = size(root / "size", case.child("input.bin"))
        assert (node.computed, node.read("size.json")[1]) == (True, len(data))
        assert not size(root / "size", case.child("input.bin")).computed
    assert "input.bin: " in node.reason[0]


elsewhere = cvcache.cdir("/tmp/never-computed-by-this-test/run")


def test_a_step_may_name_a_global_node(local_case: LocalCase) -> None:
    @cvcache.step
    def where(out: CacheDir) -> None:
        out.write("a.json", str(elsewhere))

    assert "never-computed" in where(cvcache.cdir(local_case.url)).read("a.json")
    assert not Path("/tmp/never-computed-by-this-test").exists()
