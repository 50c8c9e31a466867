"""The exception tree: what its docstring draws is what there is, and each class is raised by somebody."""

from __future__ import annotations

import os
import pickle
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from store.strangers import claim_record, log_key, put_record

import cvcache
from cvcache import Policy, cdir, cdir_init, cdir_query, cdir_remove, errors, plan
from cvcache.store import instrument
from cvcache.testing import WrapperStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.store_cases import MemoryCase

CLASSES = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
GROUPS = {"Usage": "UsageError", "Refusal": "Refusal", "Contention": "Contention", "Data": "DataError"}


def drawn() -> dict[str, tuple[str, str]]:
    """Read name -> (class above, builtin class) off the drawing."""
    tree: dict[str, tuple[str, str]] = {}
    above = {0: "CvcacheError"}
    for bars, name, group, builtin in re.findall(
        r"(?m)^    ([|` ]*)-- (\w+)(:)?(?: +\((\w+)\))?", errors.__doc__ or ""
    ):
        level = (len(bars) + 3) // 4
        name = GROUPS[name] if group else name  # noqa: PLW2901 - the drawing has the short name
        tree[name] = (above[level - 1], builtin)
        above[level] = name
    return tree


def test_the_drawing_is_the_tree() -> None:
    tree = drawn()
    assert set(tree) == set(CLASSES) - {"CvcacheError"}
    for name, (above, builtin) in tree.items():
        kind = CLASSES[name]
        assert kind.__bases__[0].__name__ == (builtin if builtin in CLASSES else above)
        bases = {base.__name__ for base in kind.__mro__}
        assert not builtin or builtin in bases, name
        assert errors.CvcacheError in kind.__mro__


def test_all_is_sorted_and_complete() -> None:
    assert errors.__all__ == sorted(CLASSES)
    assert set(errors.__all__) <= set(cvcache.__all__)
    assert all(getattr(cvcache, name) is CLASSES[name] for name in errors.__all__)


def test_every_class_says_what_it_is() -> None:
    for kind in CLASSES.values():
        assert (kind.__doc__ or "").endswith(".")


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_an_error_is_its_sentence_and_crosses_a_pickle(name: str) -> None:
    """`KeyError` would show the quotes of its key, and `OSError` its number."""
    error = CLASSES[name]("what, where, why, and the way out")
    assert str(error) == "what, where, why, and the way out"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - its own
    assert (type(again), str(again)) == (type(error), str(error))
    assert str(CLASSES[name]())


# -- who raises what ------------------------------------------------------------------------------------


class _NoWinner(WrapperStore):
    def exclusive(self, path: str) -> bool:  # noqa: ARG002 - whatever the path
        return False


def _node(case: MemoryCase, **policy: Any) -> cvcache.CacheDir:
    return cdir(case.child("node"), policy=Policy(sleep=lambda _: None, **policy))


def _committed(case: MemoryCase, key: object = None) -> cvcache.CacheDir:
    with cvcache.cdir_init(_node(case), key) as node:
        node.write("a.json", {"a": 1})
    return node


def recursive(case: MemoryCase) -> None:
    with cdir_init(_node(case)):
        cdir_init(_node(case))


def not_computed(case: MemoryCase) -> None:
    planner = plan()
    planner.__enter__()
    try:
        cdir_init(_node(case)).read("a.json")
    finally:
        planner.__exit__(None, None, None)


def not_exclusive(case: MemoryCase) -> None:
    with instrument(_NoWinner):
        cdir_init(_node(case))


def foreign_item(case: MemoryCase) -> None:
    node = cdir_init(_node(case))
    case.put("node/a.json", b"mine")
    node.write("a.json", 1)


def foreign(case: MemoryCase) -> None:
    case.put("node/thesis.txt", b"mine")
    cdir_init(_node(case))


def busy(case: MemoryCase) -> None:
    put_record(case, claim_record(), "node")
    cdir_init(_node(case), wait=False)


def lost(case: MemoryCase) -> None:
    node = cdir_init(_node(case))
    thread = threading.Thread(target=lambda: cdir_remove(_node(case), force=True))
    thread.start()
    thread.join()
    node.write("a.json", 1)


def stale(case: MemoryCase) -> None:
    _committed(case, {"sigma": 1})
    cdir_init(_node(case), {"sigma": 2}, on_stale="error")


def replaced(case: MemoryCase) -> None:
    reader = cvcache.cdir_query(_committed(case, {"sigma": 1}))
    with cdir_init(_node(case), {"sigma": 2}) as node:
        node.write("a.json", {"a": "another"})
    reader.read("a.json")


def removed(case: MemoryCase) -> None:
    reader = cvcache.cdir_query(_committed(case))
    cdir_remove(_node(case))
    reader.read("a.json")


def damaged(case: MemoryCase) -> None:
    _committed(case)
    case.put("node/a.json", b'{"a":')
    cdir_query(_node(case)).read("a.json")


def unreadable(case: MemoryCase) -> None:
    case.put(log_key(1, "root", "node"), b"{")
    cdir_query(_node(case))


def newer(case: MemoryCase) -> None:
    case.put(log_key(1, "root", "node"), b'{"v": 99}')
    cdir_query(_node(case))


RAISED: dict[str, tuple[Callable[[MemoryCase], object], str]] = {
    "InvalidName": (lambda case: cdir(case.url) / "a*", "use letters"),
    "UnknownOption": (lambda case: cdir(case.url, polcy=1), "did you mean 'policy'"),
    "UnknownFormat": (lambda case: cdir_init(_node(case)).write("a.jsn", 1), "did you mean 'json'"),
    "UnkeyableValue": (lambda case: cdir_init(_node(case), {"a": object()}), "register_key"),
    "NotOpen": (lambda case: _node(case).write("a.json", 1), "call cdir_init"),
    "NodeCommitted": (lambda case: _committed(case).write("b.json", 1), "force=True"),
    "NotComputed": (not_computed, "run the script"),
    "RecursiveNode": (recursive, "give the inner step a child"),
    "UsageError": (lambda case: cdir_init(_node(case), on_stale="recompte"), "did you mean 'recompute'"),
    "NotACacheDir": (foreign, "Give a directory that is empty or new"),
    "ForeignItem": (foreign_item, "give the item another name"),
    "NotExclusive": (not_exclusive, "Use another store"),
    "NodeBusy": (busy, "4711 on elsewhere"),
    "LeaseLost": (lost, "discarded"),
    "NodeStale": (stale, "on_stale='recompute'"),
    "NodeReplaced": (replaced, "open it again"),
    "NodeRemoved": (removed, "run the step again"),
    "ItemNotFound": (lambda case: _committed(case).read("b.json"), "did you mean 'a.json'"),
    "ItemDamaged": (damaged, "force=True"),
    "NotReproducible": (lambda case: cdir_init(_node(case)).write("a.json", (1, 2)), "list"),
    "BadRecord": (unreadable, "Move it away|move it away"),
    "NewerRecord": (newer, "upgrade"),
}


@pytest.mark.parametrize("name", RAISED)
def test_each_class_is_raised_and_names_the_way_out(name: str, memory_case: MemoryCase) -> None:
    act, way_out = RAISED[name]
    with pytest.raises(CLASSES[name], match=way_out) as caught:
        act(memory_case)
    assert type(caught.value) is CLASSES[name]
    assert len(str(caught.value)) < 1000
    pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - its own


def test_no_class_is_left_out() -> None:
    """What is not raised itself is only there to be caught by."""
    groups = {"CvcacheError", *GROUPS.values()}
    assert set(RAISED) | groups == set(CLASSES)


def test_the_place_is_named(memory_case: MemoryCase) -> None:
    for name in ("NotOpen", "NodeCommitted", "NotACacheDir", "NodeStale", "NodeBusy", "BadRecord", "ItemDamaged"):
        memory_case.remove()
        with pytest.raises(CLASSES[name]) as caught:
            RAISED[name][0](memory_case)
        assert memory_case.child("node") in str(caught.value), name


def test_errors_are_of_the_kind_python_programs_expect() -> None:
    assert issubclass(errors.ItemNotFound, KeyError)
    assert issubclass(errors.NodeBusy, TimeoutError)
    assert issubclass(errors.NodeCommitted, PermissionError)
    assert not issubclass(errors.NotExclusive, FileExistsError)
    assert os.strerror(2)
