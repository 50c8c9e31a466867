"""Steps: what their key is made of, when they run, and what a failure leaves."""

from __future__ import annotations

import collections
import dataclasses
import functools
import logging
import pickle
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cvcache
from cvcache import CacheDir, Item
from cvcache.node import item_io, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers.store_cases import LocalCase, MemoryCase, StoreCase

runs: list[str] = []
GAIN = 2


@pytest.fixture(autouse=True)
def _forget_runs() -> None:
    runs.clear()


@pytest.fixture
def root(memory_case: MemoryCase) -> CacheDir:
    return cvcache.cdir(memory_case.url)


@cvcache.step
def scale(out: CacheDir, value: object, *, gain: float = 1.0, note: str = "") -> None:
    """Multiply."""
    runs.append(out.name)
    out.write("value.json", [float(np.sum(value)) * gain, note])


@cvcache.step
def read(out: CacheDir, item: Item) -> None:
    runs.append(out.name)
    out.write("copy.json", item.read())


# what these two count is a list of this module, which must not be in their keys
for counted in (scale, read):
    counted._version = 1


def test_a_step_runs_once(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    first, second = (scale(root / "a", 3, gain=2.0) for _ in range(2))
    assert runs == ["a"]
    assert (first.computed, second.computed) == (True, False)
    assert first.read("value.json") == second.read("value.json") == [6.0, ""]
    assert first.commit == second.commit
    assert second.state == "committed"
    assert sorted(item_io.read_rows(snapshot_of(second))) == ["run.log", "value.json"]
    assert first.commit is not None
    assert first.commit.key["step"] == "scale"
    assert first.commit.key["args"] == {"value": 3, "gain": 2.0, "note": ""}
    changed = scale(root / "a", 3, gain=3.0)
    assert (changed.computed, changed.read("value.json")) == (True, [9.0, ""])


def test_how_an_argument_is_given_does_not_matter(root: CacheDir) -> None:
    scale(root / "a", 3)
    scale(root / "a", value=3, gain=1.0, note="")
    scale(root / "a", 3, gain=1.0)
    scale(root / "a", value=3)
    functools.partial(scale, root / "a")(3)
    assert runs == ["a"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (((3,), {"gain": 3.0}), "args.gain: 1.0 -> 3.0"),
        (((4,), {}), "args.value: 3 -> 4"),
        (((3.0,), {}), "args.value: 3 -> 3.0"),
        ((("3",), {}), 'args.value: 3 -> "3"'),
        (((None,), {}), "args.value: 3 -> null"),
    ],
)
def test_a_changed_argument_runs_it_again_and_says_why(
    root: CacheDir, changed: tuple[tuple[Any, ...], dict[str, Any]], why: str
) -> None:
    scale(root / "a", 3)
    args, kwargs = changed
    key = scale.key(*args, **kwargs)
    node = cvcache.cdir_init((root / "a"), key)
    assert list(node.reason) == [why]


def test_arrays_count_by_content(root: CacheDir) -> None:
    image = np.arange(12.0).reshape(3, 4)
    scale(root / "a", image)
    scale(root / "a", np.asfortranarray(image))
    assert runs == ["a"]
    image[0, 0] = 1
    node = scale(root / "a", image)
    assert runs == ["a", "a"]
    assert node.reason[0].startswith("args.value")


def test_an_item_counts_by_the_version_of_its_node(root: CacheDir) -> None:
    first = scale(root / "a", 3)
    read(root / "b", first["value.json"])
    other = scale(root / "a", 4)
    assert other.version != first.version
    node = read(root / "b", other["value.json"])
    assert runs == ["a", "b", "a", "b"]
    assert node.reason[0].startswith("args.item: value.json: version ")
    assert node.read("copy.json") == [4.0, ""]


def test_an_item_arrives_as_a_handle(root: CacheDir) -> None:
    seen: list[object] = []

    @cvcache.step(version=1)
    def look(out: CacheDir, image: Item) -> None:
        seen.append(image)
        out.write("where.json", [image.name, image.meta["shape"]])

    with cvcache.cdir_init(root / "raw") as d:
        item = d.write("raw.npy", np.zeros((3, 4)))
    node = look(root / "look", item)
    assert node.read("where.json") == ["raw.npy", [3, 4]]
    assert isinstance(seen[0], Item)
    assert seen[0].url.endswith("raw/raw.npy")


def test_going_back_and_an_identical_recompute_rerun_nothing_downstream(root: CacheDir) -> None:
    read(root / "b", scale(root / "a", 3)["value.json"])
    again = scale(root / "a", 4)
    again = scale(root / "a", 3)
    read(root / "b", again["value.json"])
    assert runs == ["a", "b", "a", "a"]


def test_force_runs_it_and_what_follows(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    first = scale(root / "a", 3)
    read(root / "b", first["value.json"])
    forced = scale.options(force=True)(root / "a", 3)
    assert (forced.computed, list(forced.reason)) == (True, ["forced"])
    assert forced.commit != first.commit
    read(root / "b", forced["value.json"])
    assert runs == ["a", "b", "a", "b"]
    read(root / "b", scale(root / "a", 3)["value.json"])
    assert runs == ["a", "b", "a", "b"]


@pytest.mark.parametrize("differ", ["text", "what it encloses"])
def test_the_code_counts_unless_a_version_stands_for_it(root: CacheDir, differ: str) -> None:
    def body(out: CacheDir) -> None:
        out.write("x.json", 1)

    def other(out: CacheDir) -> None:
        out.write("x.json", 2)

    def enclosing(value: int) -> Callable[[CacheDir], None]:
        def body(out: CacheDir) -> None:
            out.write("x.json", value)

        return body

    bodies = (body, other) if differ == "text" else (enclosing(1), enclosing(2))

    def steps(**options: Any) -> tuple[cvcache.step.Step, ...]:  # type: ignore[name-defined]
        return tuple(cvcache.step(name="body", **options)(function) for function in bodies)

    assert [step(root / "code").read("x.json") for step in steps()] == [1, 2]
    assert [step(root / "versioned").read("x.json") for step in steps(version=1)] == [1, 1]
    node = steps(version=2)[1](root / "versioned")
    assert (node.read("x.json"), list(node.reason)) == (2, ["version: 1 -> 2"])


def test_ignored_arguments_do_not_count(root: CacheDir) -> None:
    def work(out: CacheDir, x: int, workers: int) -> None:
        out.write("x.json", x * workers)

    ignoring = cvcache.step(ignore=["workers"])(work)
    assert [ignoring(root / "a", 1, workers).read("x.json") for workers in (1, 2)] == [1, 1]
    assert ignoring(root / "a", 2, 9).read("x.json") == 18
    with pytest.raises(cvcache.UsageError, match="did you mean 'workers'"):
        cvcache.step(ignore=["worker"])(work)


def test_what_it_depends_on_counts(root: CacheDir) -> None:
    for model in ("v1", "v2"):
        node = cvcache.step(depends=[model])(scale._function)(root / "a", 1)
    assert list(node.reason) == ['depends[0]: "v1" -> "v2"']


def test_on_stale(root: CacheDir) -> None:
    strict = cvcache.step(on_stale="error", version=1)(scale._function)
    sweep = cvcache.step(on_stale="new", version=1)(scale._function)
    strict(root / "a", 1)
    with pytest.raises(cvcache.NodeStale, match=r"args.value: 1 -> 2"):
        strict(root / "a", 2)
    for gain in (2.0, 3.0):
        beside = sweep(root / "a", 1, gain=gain)
        assert beside.name == f"a,gain={gain}"
        again = sweep(root / "a", 1, gain=gain)
        assert (again.computed, again.commit) == (False, beside.commit)
    values = [(root / name).read("value.json")[0] for name in ("a", "a,gain=2.0", "a,gain=3.0")]
    assert values == [1.0, 2.0, 3.0]
    assert not sweep(root / "a", 1).computed


def test_a_step_in_a_step(root: CacheDir) -> None:
    @cvcache.step(version=1)
    def outer(out: CacheDir, x: int) -> None:
        inner = scale(out / "inner", x)
        out.write("sum.json", inner.read("value.json")[0] + 1)

    node = outer(root / "outer", 3)
    assert node.read("sum.json") == 4.0
    assert [child.name for child in node.children()] == ["inner"]
    assert (node / "inner").committed
    outer.options(force=True)(root / "outer", 3)
    assert runs == ["inner"]


def test_a_step_that_opens_its_own_node_is_refused(root: CacheDir) -> None:
    @cvcache.step(version=1)
    def recursive(out: CacheDir) -> None:  # noqa: ARG001 - it takes another
        recursive(root / "a")

    with pytest.raises(cvcache.RecursiveNode, match="child of its own"):
        recursive(root / "a")


def test_a_failure_leaves_traceback_and_log(store_case: StoreCase) -> None:
    @cvcache.step(version=1)
    def fails(out: CacheDir) -> None:
        print("so far so good")  # noqa: T201 - what a step prints is in its log
        out.write("half.json", 1)
        msg = "no nuclei in this image"
        raise ZeroDivisionError(msg)

    root = cvcache.cdir(store_case.url, **store_case.options)
    with pytest.raises(ZeroDivisionError, match="no nuclei"):
        fails(root / "a")
    assert fails.why(root / "a") == ["the last attempt failed: ZeroDivisionError: no nuclei in this image"]
    node = cvcache.cdir_query(root / "a")
    assert (node.state, node.committed, node.commit) == ("failed", False, None)
    assert node.error is not None
    assert (node.error["type"], node.error["message"]) == ("ZeroDivisionError", "no nuclei in this image")
    assert "raise ZeroDivisionError" in node.error["traceback"]
    log = node.read("run.log")
    assert log.index("so far so good") < log.index("raise ZeroDivisionError")
    with pytest.raises(cvcache.NotOpen):
        node.write("more.json", 1)
    mended = cvcache.step(name="fails", version=2)(scale._function)
    impatient = cvcache.cdir(root, policy=cvcache.Policy(wait=False))
    again = mended(impatient / "a", 1)
    assert list(again.reason) == ["the last attempt failed: ZeroDivisionError: no nuclei in this image"]
    assert [item.name for item in again.items()] == ["run.log", "value.json"]
    assert not mended(impatient / "a", 1).computed


def test_several_results_of_a_step_are_all_or_nothing(store_case: StoreCase) -> None:
    @cvcache.step(version=1)
    def label(out: CacheDir, *, fail: bool = False) -> None:
        out.write("labels.npy", np.arange(4))
        if fail:
            msg = "no nuclei"
            raise ValueError(msg)
        out.write("count.json", 3)

    root = cvcache.cdir(store_case.url, **store_case.options)
    with pytest.raises(ValueError, match="no nuclei"):
        label(root / "n", fail=True)
    assert not cvcache.cdir_query(root / "n").committed
    for _ in range(2):
        node = label(root / "n")
        assert (node.read("count.json"), node.read("labels.npy").tolist()) == (3, [0, 1, 2, 3])


def test_the_result_is_pinned_to_its_commit(root: CacheDir) -> None:
    old = scale(root / "a", 1)
    assert old.state == "committed"
    scale(root / "a", 2)
    with pytest.raises(cvcache.NodeReplaced):
        old.read("value.json")
    assert old.refresh().read("value.json") == [2.0, ""]


def test_a_returned_value_is_said_to_be_lost(root: CacheDir, caplog: pytest.LogCaptureFixture) -> None:
    cvcache.step(name="returns", version=1)(returning)(root / "a")
    assert "returned a value, which is not kept; write it with out.write()" in caplog.text


def test_no_log_if_none_is_wanted(root: CacheDir) -> None:
    assert [item.name for item in cvcache.step(log=None, version=1)(scale._function)(root / "a", 1).items()] == [
        "value.json"
    ]
    assert "steps.log" in cvcache.step(log="steps.log", version=1)(scale._function)(root / "b", 1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: scale("memory://x/y", 1), cvcache.UsageError, "called with the node to fill first"),
        (lambda: scale(cvcache.cdir("memory://x/y")), cvcache.UnknownOption, "missing a required argument: 'value'"),
        (lambda: scale(cvcache.cdir("memory://x/y"), 1, gian=2), cvcache.UnknownOption, "did you mean 'gain'"),
        (lambda: cvcache.step("name"), cvcache.UsageError, "options are given by name"),  # type: ignore[call-overload]
        (lambda: cvcache.step(lambda: None), cvcache.UsageError, "has no argument for the node"),
        (lambda: cvcache.step(nodeless), cvcache.UsageError, "has no argument for the node"),
        (lambda: cvcache.step(generator), cvcache.UsageError, "calling it does not run it"),  # type: ignore[arg-type]
        (lambda: cvcache.step(on_stale="nwe", version=1)(scale._function)(cvcache.cdir("memory://x/y"), 1),
         cvcache.UsageError, "did you mean 'new'"),
        (lambda: scale(cvcache.cdir("memory://x/y"), object()), cvcache.UnkeyableValue, "register_key"),
    ],
)  # fmt: skip
def test_a_wrong_call_says_what_was_meant(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
    assert not runs
    assert not cvcache.cdir_query("memory://x/y").reason


def returning(out: CacheDir) -> int:  # noqa: ARG001 - writes nothing
    return 3


def nodeless(*, out: CacheDir) -> None:
    """Never run."""


def generator(out: CacheDir) -> Iterator[int]:  # noqa: ARG001 - never run
    yield 1


def test_a_step_looks_like_its_function() -> None:
    assert (scale.__name__, scale.__doc__, scale.__module__) == ("scale", "Multiply.", __name__)


def test_a_step_of_a_module_pickles_by_name() -> None:
    assert pickle.loads(pickle.dumps(scale)) is scale  # noqa: S301 - our own bytes


@dataclasses.dataclass
class Segmenter:
    """Settings with steps that use them."""

    level: float
    name: str = "cells"

    @cvcache.step(version=1)
    def threshold(self, out: CacheDir, value: float) -> None:
        runs.append(out.name)
        out.write("over.json", value > self.level)

    @cvcache.step
    def count(self, out: CacheDir, values: list[float]) -> None:
        out.write("n.json", sum(value > self.level for value in values))

    @cvcache.step(version=1, ignore=["self"])
    def loose(self, out: CacheDir, value: float) -> None:
        runs.append(out.name)
        out.write("value.json", value)


def test_a_method_is_a_step_and_its_instance_an_argument(root: CacheDir) -> None:
    assert Segmenter(0.5).threshold(root / "a", 0.7).read("over.json") is True
    assert Segmenter(0.5).threshold(root / "a", 0.7).computed is False
    changed = Segmenter(0.9).threshold(root / "a", 0.7)
    assert changed.read("over.json") is False
    assert changed.reason == ("args.self.level: 0.5 -> 0.9",)
    counts = [Segmenter(level).count(root / "b", [0.4, 0.6]) for level in (0.5, 0.5)]
    assert [(node.computed, node.read("n.json")) for node in counts] == [(True, 1), (False, 1)]
    assert Segmenter(0.3).count(root / "b", [0.4, 0.6]).read("n.json") == 2


def test_an_ignored_instance_does_not_count(root: CacheDir) -> None:
    Segmenter(0.5).loose(root / "a", 1.0)
    Segmenter(0.9).loose(root / "a", 1.0)
    assert runs == ["a"]


def test_the_step_of_an_instance_pickles_with_it() -> None:
    bound = pickle.loads(pickle.dumps(Segmenter(0.5).threshold))  # noqa: S301 - our own bytes
    assert bound.key(0.7) == Segmenter(0.5).threshold.key(0.7)


def test_force_alone_leaves_what_follows(root: CacheDir) -> None:
    read(root / "b", scale(root / "a", 1)["value.json"])
    again = scale.options(force="alone")(root / "a", 1)
    assert again.computed
    assert again.reason == ("forced",)
    assert read(root / "b", again["value.json"]).computed is False
    assert runs == ["a", "b", "a"]


def test_options_are_of_one_call_and_no_part_of_the_key(root: CacheDir) -> None:
    scale(root / "a", 1)
    forced = scale.options(force=True)
    assert forced.key(1) == scale.key(1)
    assert forced(root / "a", 1).computed
    assert not scale(root / "a", 1).computed, "the step itself is as it was"
    assert forced.why(root / "a", 1) == ["forced"]
    assert forced.options(force=False)(root / "a", 1).computed is False, "what is given last counts"


def test_another_on_stale_for_one_call(root: CacheDir) -> None:
    scale(root / "a", 1)
    beside = scale.options(on_stale="new")(root / "a", 2)
    assert beside.name != "a"
    with pytest.raises(cvcache.NodeStale):
        scale.options(on_stale="error")(root / "a", 2)
    assert scale.options(on_stale="error").options(force=True)(root / "a", 2).computed
    with pytest.raises(cvcache.UsageError, match="did you mean 'error'"):
        scale.options(on_stale="eror")
    with pytest.raises(cvcache.UsageError, match="force is True, False or 'alone'"):
        scale.options(force="yes")(root / "a", 1)


def test_who_does_not_want_to_wait_says_so_for_one_call(root: CacheDir) -> None:
    scale(root / "a", 1)
    entered, leave = threading.Event(), threading.Event()

    @cvcache.step(version=1)
    def slow(out: CacheDir) -> None:
        entered.set()
        leave.wait()
        out.write("done.json", 1)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(slow, root / "slow")
        entered.wait()
        try:
            with pytest.raises(cvcache.NodeBusy):
                slow.options(wait=False)(root / "slow")
        finally:
            leave.set()
        assert done.result().computed


def test_a_step_with_options_pickles_with_them(root: CacheDir) -> None:
    forced = pickle.loads(pickle.dumps(scale.options(force=True)))  # noqa: S301 - our own bytes
    scale(root / "a", 1)
    assert forced(root / "a", 1).computed
    bound = pickle.loads(pickle.dumps(Segmenter(0.5).threshold.options(force=True)))  # noqa: S301 - our own bytes
    Segmenter(0.5).threshold(root / "b", 0.7)
    assert bound(root / "b", 0.7).computed


class Forced:
    """A step that was given options before it became a method."""

    @cvcache.step(version=1)
    def plain(self, out: CacheDir) -> None:
        out.write("a.json", 1)

    again = plain.options(force=True)

    def __cvcache_key__(self) -> int:
        return 1


def test_a_method_keeps_the_options_it_was_given(root: CacheDir) -> None:
    assert Forced().plain(root / "a").computed
    assert not Forced().plain(root / "a").computed
    assert Forced().again(root / "a").computed


def test_why_asks_without_computing(root: CacheDir) -> None:
    assert not cvcache.cdir_query(root / "a").committed
    assert scale.why(root / "a", 1) == ["first run"]
    scale(root / "a", 1)
    assert cvcache.cdir_query(root / "a").committed
    assert scale.why(root / "a", 1) == []
    with cvcache.plan() as planned:
        scale(root / "a", 1)
        scale(root / "a", 2)
    assert [row.action for row in planned.rows] == ["read", "compute"]
    assert cvcache.cdir_query(root / "a").read("value.json") == [1.0, ""]
    assert scale.why(root / "a", 2) == ["args.value: 1 -> 2"]
    assert runs == ["a"]


def test_hits_misses_and_reasons_are_logged(root: CacheDir, caplog: pytest.LogCaptureFixture) -> None:
    node = root / "a"
    with caplog.at_level(logging.INFO, "cvcache"):
        scale(node, 1, gain=4.0)
        scale(node, 1, gain=4.0)
        scale(node, 1, gain=6.0)
    miss, hit, changed = (message for message in caplog.messages if node.url in message)
    assert miss == f"{node.url}: computing (first run)"
    assert hit.startswith(f"{node.url}: read")
    assert changed.startswith(f"{node.url}: computing (args.gain: 4.0 -> 6.0); the result of ")
    assert changed.endswith(" stands until it is committed")
    assert list(cvcache.cdir_query(node).reason) == ["args.gain: 4.0 -> 6.0"]


def test_methods_keep_their_object_outside(root: CacheDir) -> None:
    class Pipeline:
        gain = 3.0

        def run(self) -> CacheDir:
            return scale(root / "a", 1, gain=self.gain)

    assert Pipeline().run().read("value.json") == [3.0, ""]


def test_messages_of_the_step_are_logged(root: CacheDir) -> None:
    @cvcache.step(version=1)
    def talks(out: CacheDir) -> None:  # noqa: ARG001 - writes nothing
        logging.getLogger("talks").warning("a cell at the border")

    assert "WARNING talks: a cell at the border" in talks(root / "a").read("run.log")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda item: [item], lambda item: functools.partial(len, item), lambda item: types.SimpleNamespace(item=item),
        lambda item: collections.deque([item]), lambda item: (1, Holder(item)),
    ],
)  # fmt: skip
def test_an_item_anywhere_in_a_key_is_an_input(root: CacheDir, wrap: Callable[[Item], object]) -> None:
    made = scale(root / "a", 1)
    node = cvcache.cdir_init(root / "b", {"x": wrap(made["value.json"])})
    assert [source["url"] for source in snapshot_of(node).record.inputs] == ["../a"]
    cvcache.cdir_commit(node)
    scale(root / "a", 2)
    assert (root / "b").state == "stale"
    with pytest.raises(cvcache.UsageError, match="its own items"):
        cvcache.cdir_init(root / "a", {"x": wrap(cvcache.cdir_query(root / "a")["value.json"])})
    assert (root / "a").state == "committed"


class Holder:
    """Says by itself what stands for it."""

    def __init__(self, item: Item) -> None:
        self.item = item

    def __cvcache_key__(self) -> object:
        return self.item


@dataclasses.dataclass
class Loose:
    """An instance that does not count, code that does."""

    level: float

    @cvcache.step(ignore=["self"])
    def show(self, out: CacheDir) -> None:
        out.write("level.json", self.level)


def test_an_ignored_instance_is_not_in_the_code_either(root: CacheDir) -> None:
    assert Loose(0.5).show(root / "a").computed
    assert Loose(0.9).show(root / "a").computed is False


def test_a_forced_run_that_fails_is_forgotten(root: CacheDir) -> None:
    fail = True

    @cvcache.step(version=1)
    def shaky(out: CacheDir) -> None:
        if fail:
            raise ZeroDivisionError
        out.write("value.json", 1)

    fail = False
    read(root / "b", shaky(root / "a")["value.json"])
    fail = True
    with pytest.raises(ZeroDivisionError):
        shaky.options(force=True)(root / "a")
    fail = False
    assert read(root / "b", shaky(root / "a")["value.json"]).computed is False
    shaky.options(force=True)(root / "a")
    assert read(root / "b", shaky(root / "a")["value.json"]).computed


def test_the_version_of_an_inner_step_counts(root: CacheDir) -> None:
    def outer(version: int) -> cvcache.CacheDir:
        @cvcache.step(version=version)
        def inner(out: CacheDir) -> None:
            out.write("n.json", version)

        @cvcache.step
        def around(out: CacheDir) -> None:
            out.write("n.json", inner(out / "inner").read("n.json"))

        return around(root / "around")

    assert [outer(version).read("n.json") for version in (1, 2)] == [1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cvcache.step(ignore="value"), "takes a list"),
        (lambda: cvcache.step(depends="value"), "takes a list"),
        (lambda: cvcache.step(on_stale="recomput"), "did you mean 'recompute'"),
        (lambda: cvcache.step(functools.partial(scale._function)), "write a function that calls it"),
        (lambda: cvcache.cdir("memory://x/y", policy={"ttl": 3}), "policy is a Policy"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_option_is_refused_at_once(call: Callable[[], object], message: str) -> None:
    with pytest.raises(cvcache.UsageError, match=message):
        call()


def test_four_threads_compute_once(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    runs: list[int] = []
    begin = threading.Barrier(4)

    @cvcache.step(version=1)
    def work(out: CacheDir) -> None:
        runs.append(1)
        out.write("x.npy", np.random.default_rng().random(3))

    def one(_: int) -> list[float]:
        begin.wait()
        return work(root / "n").read("x.npy").tolist()

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(one, range(4)))
    assert len(runs) == 1
    assert results == [results[0]] * 4


def test_force_in_a_sweep_recomputes_the_sibling(local_case: LocalCase) -> None:
    root = cvcache.cdir(local_case.url)

    @cvcache.step(on_stale="new", log=None)
    def sweep(out: CacheDir, *, level: int) -> None:
        out.write("level.json", level)

    sweep(root / "sw", level=1)
    sweep(root / "sw", level=2)
    again = sweep.options(force=True)(root / "sw", level=2)
    assert (again.name, again.read("level.json")) == ("sw,level=2", 2)
    assert (root / "sw").read("level.json") == 1


def test_a_node_is_not_computed_from_itself(local_case: LocalCase) -> None:
    root = cvcache.cdir(local_case.url)

    @cvcache.step(log=None)
    def increment(out: CacheDir, before: Item | None) -> None:
        out.write("n.json", before.read() + 1 if before else 0)

    node = increment(root / "n", None)
    with pytest.raises(cvcache.UsageError, match="another node"):
        increment(root / "n", node["n.json"])
    assert (root / "n").read("n.json") == 0


def test_a_commit_inside_a_step_counts(local_case: LocalCase) -> None:
    root = cvcache.cdir(local_case.url)

    @cvcache.step
    def hasty(out: CacheDir) -> None:
        out.write("a.json", 1)
        cvcache.cdir_commit(out)

    assert hasty(root / "a").read("a.json") == 1
