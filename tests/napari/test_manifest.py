"""What napari is told of the plugin is valid, leads to what exists, and costs nothing until it is used."""

from __future__ import annotations

import dataclasses
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from npe2 import PluginManifest

import cvcache
from cvcache.napari import DEMO_URL, REMOTE_SCHEMES, Settings, plugin_settings, settings_from_values
from cvcache.store import parse_url

MANIFEST = Path(cvcache.__file__).with_name("napari") / "napari.yaml"


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution("cvcache")


def test_npe2_finds_it_valid() -> None:
    command = [sys.executable, "-c", "from npe2.cli import main; main()", "validate", "cvcache"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_installed_is_the_manifest_of_the_package(manifest: PluginManifest) -> None:
    assert manifest.contributions.dict() == PluginManifest.from_file(MANIFEST).contributions.dict()


def test_every_command_exists(manifest: PluginManifest) -> None:
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_the_patterns_are_those_the_reader_takes(manifest: PluginManifest) -> None:
    (reader,) = manifest.contributions.readers
    remote = {parse_url(pattern).scheme for pattern in reader.filename_patterns if pattern.endswith("://*")}
    assert remote == set(REMOTE_SCHEMES)
    assert DEMO_URL in reader.filename_patterns
    assert not any(pattern.startswith("http") for pattern in reader.filename_patterns)


def test_the_settings_are_those_of_the_manifest(manifest: PluginManifest) -> None:
    declared = manifest.contributions.configurations["browser"].properties
    assert {name: one.default for name, one in declared.items()} == dataclasses.asdict(Settings())


@pytest.fixture
def chosen(plugin_settings: Any, npe2pm: Any, manifest: PluginManifest) -> Any:  # noqa: ARG001 - isolates
    from napari.settings import get_plugin_settings

    npe2pm.register(manifest)
    return get_plugin_settings("cvcache").browser


def test_what_the_user_chooses_is_taken(chosen: Any) -> None:
    assert plugin_settings() == Settings()
    chosen.autorefresh = 30
    chosen.thumbnails = False
    chosen.memory = 100
    assert plugin_settings() == Settings(autorefresh=30.0, thumbnails=False, memory=100)


@pytest.mark.parametrize(
    "nonsense", [None, "x", -1, float("nan"), float("inf"), [], True, pytest.param(10**400, id="huge")]
)
def test_nonsense_in_the_file_is_the_default(nonsense: object) -> None:
    assert (
        settings_from_values(dict.fromkeys(["autorefresh", "memory", "ask_above", "unknown"], nonsense)) == Settings()
    )
    assert settings_from_values({"thumbnails": nonsense}) == Settings()


def test_without_napari_there_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "napari.settings", None)
    assert plugin_settings() == Settings()


def test_the_reader_loads_nothing_heavy() -> None:
    code = """
import json, sys
from cvcache.napari.reader import get_reader
get_reader("s3://bucket/run7"); get_reader("/tmp")
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert not loaded & {"napari", "qtpy", "PyQt6", "numpy", "dask", "zarr", "fsspec", "s3fs"}
