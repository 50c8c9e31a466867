"""Run the command line: in this process, where it is quick and shares memory://, or in one of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from cvcache.cli import main

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pytest

__all__ = ["HEAVY", "Done", "in_process", "loaded_by", "options_of", "own_process"]

HEAVY = frozenset({"dask", "fsspec", "matplotlib", "numpy", "pandas", "scipy", "skimage", "zarr"})

_WRAPPER = """
import atexit, json, os, sys
def report():
    with open(os.environ["LOADED"], "w") as file:
        json.dump(sorted({name.partition(".")[0] for name in sys.modules}), file)
atexit.register(report)
from cvcache.cli.main import main
main()
"""


@dataclasses.dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


def in_process(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> Done:
    """Run ``cvcache *words`` in this process, whose logging and streams stay as they are."""
    monkeypatch.setattr(sys, "argv", ["cvcache", *map(str, words)])
    monkeypatch.setattr(main, "set_up_output", lambda: None)
    capsys.readouterr()
    code = 0
    try:
        main.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    text = capsys.readouterr()
    return Done(code, text.out, text.err)


def own_process(
    *words: object, env: Mapping[str, str] | None = None, prefix: Sequence[str] = (), timeout: float = 120
) -> Done:
    """Run ``cvcache *words`` as a user does, without a terminal; `prefix` runs it by another program."""
    command = [*prefix, sys.executable, "-m", "cvcache.cli.main", *map(str, words)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=timeout, env={**os.environ, **(env or {})}
    )
    return Done(done.returncode, done.stdout, done.stderr)


def loaded_by(tmp_path: Path, *words: object, timeout: float = 120) -> tuple[Done, set[str]]:
    """Run ``cvcache *words`` in a process of its own and tell which top-level modules it loaded."""
    report = tmp_path / "loaded.json"
    done = subprocess.run(
        [sys.executable, "-c", _WRAPPER, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env={**os.environ, "LOADED": str(report)},
    )
    return Done(done.returncode, done.stdout, done.stderr), set(json.loads(report.read_text()))


def options_of(storage_options: Mapping[str, Any]) -> list[str]:
    """Give storage options as words for the command line."""
    words = []
    for name, value in storage_options.items():
        words += ["-o", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    return words
