"""FormatTests itself: each built-in format is put through it, and it finds what is wrong with a bad one."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from cvcache.errors import ItemDamaged, NotReproducible
from cvcache.formats import registry
from cvcache.testing import FormatTests

if TYPE_CHECKING:
    from types import ModuleType

    from cvcache.formats import ItemPath

HERE = Path(__file__).parent


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"read_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_built_in_format_is_put_through_it() -> None:
    paths = [path for room in ("formats", "image") for path in sorted((HERE.parent / room).glob("test_*.py"))]
    modules = [loaded(path) for path in paths if "FormatTests" in path.read_text()]
    classes = [thing for module in modules for name, thing in vars(module).items() if name.startswith("Test")]
    tested = {thing.suffix for thing in classes if issubclass(thing, FormatTests)}
    built_in = {form.suffix for form in registry._formats.values() if str(form.target).startswith("cvcache.")}
    assert built_in <= tested


def test_the_tools_for_tests_need_no_pytest() -> None:
    code = "import sys; from cvcache import testing as t; print('pytest' in sys.modules, t.FormatTests.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "FormatTests"]


class Good:
    """A format of lists of numbers, with nothing wrong."""

    def write(self, place: ItemPath, obj: Any, /) -> dict[str, Any]:
        if type(obj) is not list:
            raise NotReproducible(f"{place.url} was not written: it is no list; pass list(obj)")
        data = json.dumps(obj).encode()
        place.put(data)
        return {"kind": "json", "bytes": len(data)}

    def read(self, place: ItemPath, /) -> list[int]:
        try:
            found: list[int] = json.loads(place.get())
        except ValueError as error:
            raise ItemDamaged(f"{place.url} is damaged") from error
        return found

    def describe(self, place: ItemPath) -> dict[str, Any]:
        info = place.store.stat(place.path)
        if info is None:
            raise FileNotFoundError(place.url)
        return {"kind": "json", "bytes": info.size}


class LosesTypes(Good):
    def read(self, place: ItemPath, /) -> Any:
        return tuple(super().read(place))


class FirstIsNotLater(Good):
    def read(self, place: ItemPath, /) -> Any:
        return super().read(place) if place.pin == "" else [*super().read(place), 3]


class RefusesTooLate(Good):
    def write(self, place: ItemPath, obj: Any, /) -> dict[str, Any]:
        place.put(b"[]")
        return super().write(place, obj)


class TakesAll(Good):
    def write(self, place: ItemPath, obj: Any, /) -> dict[str, Any]:
        return super().write(place, list(obj))


class ChangesItsObject(Good):
    def write(self, place: ItemPath, obj: Any, /) -> dict[str, Any]:
        meta = super().write(place, obj)
        obj.sort()
        return meta


class TellsTooMuch(Good):
    def write(self, place: ItemPath, obj: Any, /) -> dict[str, Any]:
        return {**super().write(place, obj), "content": json.dumps([0] * 9999)}


class TellsOtherThanItsBytes(Good):
    def describe(self, place: ItemPath) -> dict[str, Any]:
        return {**super().describe(place), "bytes": 7}


class UnknownKind(Good):
    def describe(self, place: ItemPath) -> dict[str, Any]:
        return {**super().describe(place), "kind": "numbers"}

    def write(self, place: ItemPath, obj: Any, /) -> dict[str, Any]:
        return {**super().write(place, obj), "kind": "numbers"}


class LeavesThePlace(Good):
    def write(self, place: ItemPath, obj: Any, /) -> dict[str, Any]:
        meta = super().write(place, obj)
        place.store.put(f"{place.path}.more", b"")
        return meta


class WritesTwice(Good):
    def write(self, place: ItemPath, obj: Any, /) -> dict[str, Any]:
        super().write(place, obj)
        return super().write(place, obj)


class RaisesAnything(Good):
    def read(self, place: ItemPath, /) -> Any:
        return json.loads(place.get())


class MissingIsEmpty(Good):
    def read(self, place: ItemPath, /) -> Any:
        try:
            return super().read(place)
        except FileNotFoundError:
            return []


class KnownHereOnly(Good):
    told: ClassVar[list[int]] = []

    def write(self, place: ItemPath, obj: Any, /) -> dict[str, Any]:
        self.told.append(1)
        return super().write(place, obj)

    def read(self, place: ItemPath, /) -> Any:
        return super().read(place) if self.told else []


BAD = {
    LosesTypes: "comes_back",
    FirstIsNotLater: "comes_back",
    RefusesTooLate: "nothing_is_written",
    TakesAll: "nothing_is_written",
    ChangesItsObject: "left_as_it_was",
    TellsTooMuch: "metadata",
    TellsOtherThanItsBytes: "metadata",
    UnknownKind: "metadata",
    LeavesThePlace: "under_the_guard",
    WritesTwice: "under_the_guard",
    RaisesAnything: "nothing_but_damage",
    MissingIsEmpty: "missing_item",
    KnownHereOnly: "another_process",
}


SOURCE = """
import test_format_tests
from cvcache import register_format
from cvcache.testing import FormatTests


class Numbers(FormatTests):
    def values(self):
        return {"two": [2, 1]}

    def refused(self):
        return {"tuple": (2, 1)}


for kind in (test_format_tests.Good, *test_format_tests.BAD):
    register_format(kind.__name__, kind())
    globals()[f"Test{kind.__name__}"] = type(f"Test{kind.__name__}", (Numbers,), {"suffix": kind.__name__})
"""


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Give the names of the tests that fail for the formats above, ``TestName::test``."""
    folder = tmp_path_factory.mktemp("formats")
    (folder / "test_numbers.py").write_text(SOURCE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder}/base", "-rf"]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        [*command, "test_numbers.py"], capture_output=True, text=True, check=False, cwd=folder, env=environment
    )
    assert " passed" in done.stdout, done.stdout
    return re.findall(r"^FAILED test_numbers\.py::(\S+)", done.stdout, re.MULTILINE)


def test_a_good_format_passes(failed: list[str]) -> None:
    assert not [line for line in failed if line.startswith("TestGood::")]


@pytest.mark.parametrize(("kind", "test"), BAD.items(), ids=lambda part: getattr(part, "__name__", ""))
def test_a_bad_format_is_found_out(kind: type, test: str, failed: list[str]) -> None:
    assert any(line.startswith(f"Test{kind.__name__}::") and test in line for line in failed), failed


def test_a_test_of_the_contract_cannot_be_hidden_by_accident() -> None:
    with pytest.raises(TypeError, match="hides a test all must pass"):
        type("TestMine", (FormatTests,), {"suffix": "json", "test_a_missing_item_is_not_found": lambda _: None})
