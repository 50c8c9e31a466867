"""The JSON of a function is made again exactly when something it was made from has changed."""

from __future__ import annotations

import functools
import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cvcache.keys import canonical_key, dumps
from cvcache.keys.functions import canonical_code, closure, memo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOURCE = """
import functools
import helper
from helper import inner
from . import late

SIGMA = 3
SIZES = [1, 2]
TABLE = {"f": [helper.smooth]}
calls, total = [], 0

class Params:
    level = 1
    def size(self):
        return self.level

def adder(n):
    def add(x):
        return x + n
    def more():
        nonlocal n
        n += 1
    return add, more

ADD, MORE = adder(1)
SCALE = functools.partial(max, SIZES)
PARAMS = Params()

@functools.lru_cache
def cached(x):
    return x

def step(out, x, k={}, *, level=1):
    global total
    total += 1
    calls.append(x)
    import lazy
    return helper.smooth(x), inner(x), SIGMA, SIZES, TABLE, Params().size(), ADD(x), SCALE, cached(x), lazy.f(x), late
""".replace("from . import late\n", "late = None\n")
HELPER = "def smooth(x):\n    return inner(x)\n\ndef inner(x):\n    return x\n"


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = {"pipeline": SOURCE, "helper": HELPER, "lazy": "def f(x):\n    return x\n"}
    for name, source in names.items():
        (tmp_path / f"{name}.py").write_text(source.replace("PARAMS = Params()\n", ""))
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    yield importlib.import_module("pipeline")
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Count how often a form is made."""
    done: list[Any] = []
    make = closure._encode_code

    def counted(value: Any) -> Any:
        done.append(value)
        return make(value)

    monkeypatch.setattr(closure, "_encode_code", counted)
    return done


def test_a_form_is_made_once_while_nothing_changes(pipeline: Any, made: list[Any]) -> None:
    first = canonical_code(pipeline.step)
    assert canonical_code(pipeline.step) == first
    pipeline.step(None, 1)
    assert canonical_code(pipeline.step) == first
    first["uses"].clear()
    assert canonical_code(pipeline.step)["uses"]
    assert made == [pipeline.step]


CHANGES: dict[str, Callable[[Any], object]] = {
    "a constant": lambda m: setattr(m, "SIGMA", 4),
    "the type of a constant": lambda m: setattr(m, "SIGMA", 3.0),
    "a list in place": lambda m: m.SIZES.append(3),
    "a dict in place": lambda m: m.TABLE.update(g=1),
    "a function in a list in a dict": lambda m: m.TABLE["f"].__setitem__(0, m.adder),
    "a helper": lambda m: setattr(m.helper, "smooth", lambda x: -x),
    "a helper of a helper": lambda m: setattr(m.helper, "inner", lambda x: -x),
    "an imported helper": lambda m: setattr(m, "inner", lambda x: -x),
    "the code of a helper": lambda m: setattr(m.inner, "__code__", (lambda x: -x).__code__),
    "a class attribute": lambda m: setattr(m.Params, "level", 2),
    "a method": lambda m: setattr(m.Params, "size", lambda _self: 7),
    "a closure": lambda m: m.MORE(),
    "a partial": lambda m: setattr(m, "SCALE", functools.partial(max, m.SIZES, 0)),
    "a default": lambda m: setattr(m.step, "__defaults__", ({1: 2},)),
    "what a default holds": lambda m: m.step.__defaults__[0].update(a=1),
    "a default by name": lambda m: m.step.__kwdefaults__.update(level=2),
    "its own code": lambda m: setattr(m.step, "__code__", (lambda out, x, k, *, level: [out, x, k, level]).__code__),
    "an attribute of a helper": lambda m: setattr(m.helper.smooth, "level", 2),
    "what a decorator wraps": lambda m: setattr(m, "cached", functools.lru_cache(lambda x: -x)),
    "what its body imports": lambda _: setattr(sys.modules["lazy"], "f", lambda x: -x),
    "a name that was not there": lambda m: delattr(m, "late"),
    "a constant that became a function": lambda m: setattr(m, "SIGMA", m.adder),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_at_once(pipeline: Any, change: str) -> None:
    before = canonical_code(pipeline.step)
    assert before == canonical_code(pipeline.step)
    argument = canonical_key([pipeline.step])
    CHANGES[change](pipeline)
    assert dumps(canonical_code(pipeline.step)) != dumps(before)
    assert dumps(canonical_key([pipeline.step])) != dumps(argument)


def test_an_edited_helper_is_seen_after_a_reload(pipeline: Any, tmp_path: Path) -> None:
    before = canonical_code(pipeline.step)
    (tmp_path / "helper.py").write_text(HELPER.replace("return inner(x)", "return inner(x) + 1"))
    assert canonical_code(pipeline.step) == before
    importlib.reload(pipeline.helper)
    assert canonical_code(pipeline.step) != before
    (tmp_path / "helper.py").write_text(HELPER)
    importlib.reload(pipeline.helper)
    importlib.reload(pipeline)
    assert canonical_code(pipeline.step) == before


def test_a_module_used_as_a_whole_is_read_again_once_its_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "whole.py").write_text("A = 1\n")
    (tmp_path / "user.py").write_text("import whole\ndef step(out, name): return getattr(whole, name)\n")
    user = importlib.import_module("user")
    before = canonical_code(user.step)
    assert canonical_code(user.step) == before
    (tmp_path / "whole.py").write_text("A = 1000\n")
    assert canonical_code(user.step) != before


def test_state_that_does_not_count_does_not_disturb(pipeline: Any, made: list[Any]) -> None:
    before = canonical_code(pipeline.step)
    pipeline.calls.append(1)
    pipeline.total = 12
    assert canonical_code(pipeline.step) == before
    assert len(made) == 1
    pipeline.total = "twelve"
    assert canonical_code(pipeline.step) != before


def test_only_so_many_functions_are_remembered() -> None:
    for n in range(2 * memo.MAX_MEMOIZED):
        canonical_code(eval(f"lambda x: x + {n}"))  # noqa: S307 - many functions
    assert len(memo._memo) <= memo.MAX_MEMOIZED
