"""The registry: which module reads and writes an item, by the suffix of its name."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import types

import pytest

from cvcache.errors import InvalidName, UnknownFormat
from cvcache.formats import (
    KINDS,
    Format,
    find_format,
    find_suffix,
    kind_of,
    register_format,
    registered_format,
    registry,
)


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_formats", dict(registry._formats))


def fake_module() -> types.ModuleType:
    module = types.ModuleType("fake")
    for verb in ("write", "read", "describe"):
        setattr(module, verb, lambda *_: {})
    return module


def test_importing_the_registry_loads_nothing_heavy() -> None:
    code = (
        "import sys, cvcache.formats as f; f.find_format('a.ome.zarr'); "
        "print([m for m in ('numpy', 'dask', 'zarr', 'pandas', 'matplotlib', 'fsspec', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("cells.ome.zarr", "ome.zarr"), ("x.npy", "npy"), ("a.b.json", "json"), ("run.1.ome.zarr", "ome.zarr")],
)
def test_the_longest_suffix_decides(name: str, suffix: str) -> None:
    assert find_format(name).suffix == suffix


def test_a_longer_registered_suffix_wins() -> None:
    register_format(".geo.json", "some.module")
    assert find_format("a.geo.json") == Format("geo.json", "some.module")
    assert find_format("a.json").suffix == "json"
    assert find_format("geo.json").suffix == "json"


def test_every_built_in_format_is_whole() -> None:
    for form in registry._formats.values():
        assert form.module
        assert form.directory == f".{form.suffix}".endswith((".zarr", ".dir"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.ome.zarr", "image"),
        ("s3://bucket/a.zarr.zip", "image"),
        ("x.png", "picture"),
        ("x.svg", "plot"),
        ("a.b.points.csv", "points"),
        ("a.b.csv", "table"),
        ("x.ref", "link"),
        ("parts.dir", "directory"),
        ("x.toml", "text"),
        ("/data.csv/.zarr", "image"),
        (".json", "json"),
        *[(name, "") for name in ("", ".", "x", "x.tif", "x.", "x.csv/y")],
    ],
)
def test_a_suffix_tells_a_kind(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_each_built_in_format_has_a_kind_and_an_own_one_that_of_a_shorter_suffix() -> None:
    built_in = [form for form in registry._formats.values() if str(form.target).startswith("cvcache.")]
    kinds = {kind_of(f"x.{form.suffix}") for form in built_in}
    assert kinds <= {*KINDS, "directory", "link", "picture"}
    register_format("spots.csv", "some.module")
    register_format("spots", "some.module")
    assert [kind_of(f"a.spots{end}") for end in ("", ".csv")] == ["", "table"]
    assert registered_format("a.spots") == Format("spots", "some.module")
    assert registered_format("a.spot") is None
    assert find_suffix("a.spots.csv", {"csv": 1, "spots": 2}) == 1


@pytest.mark.parametrize("name", ["x.jsn", "x.omezarr", "x.tiff", "x", ".json"])
def test_an_unknown_suffix_names_the_way_out(name: str) -> None:
    with pytest.raises(UnknownFormat) as caught:
        find_format(name)
    assert "npz" in str(caught.value)


def test_an_unknown_suffix_is_told_what_was_meant() -> None:
    with pytest.raises(UnknownFormat, match=r"did you mean 'json'.*register_format\('jsn'.*open\("):
        find_format("x.jsn")
    with pytest.raises(UnknownFormat, match=r"did you mean 'ome\.zarr'"):
        find_format("x.omezarr")


@pytest.mark.parametrize("suffix", ["", ".", "a/b", "a..b", "a b", "*"])
def test_a_suffix_is_spelled_plainly(suffix: str) -> None:
    with pytest.raises(InvalidName):
        register_format(suffix, "some.module")


def test_directories_and_files_are_told_by_their_suffix() -> None:
    with pytest.raises(InvalidName, match=r"points\.dir"):
        register_format("points", "some.module", directory=True)
    with pytest.raises(InvalidName, match="single file"):
        register_format("points.dir", "some.module", directory=False)
    register_format("points.dir", "some.module", directory=True)
    assert find_format("a.points.dir").directory


def test_a_module_is_checked_at_its_first_use() -> None:
    register_format("foo", "no.such.module")
    with pytest.raises(UnknownFormat, match=r"no\.such\.module"):
        _ = find_format("a.foo").module
    register_format("foo", types.ModuleType("empty"))
    with pytest.raises(UnknownFormat, match="'write'"):
        _ = find_format("a.foo").module


def test_an_entry_point_is_asked_for_last(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def entry_points(*, group: str) -> list[importlib.metadata.EntryPoint]:
        asked.append(group)
        return [importlib.metadata.EntryPoint(name, "plugin.module", group) for name in ("cloud", "my.json")]

    registry._plugin_formats.cache_clear()
    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    assert find_format("a.my.json").target == "cvcache.formats.json_value"
    assert asked == []
    assert find_format("a.cloud").target == "plugin.module"
    assert find_format("b.cloud").target == "plugin.module"
    assert asked == ["cvcache.formats"]
    registry._plugin_formats.cache_clear()
