"""Read items in a process of its own: ``python -m cvcache.testing.other_process JOB RESULT``."""

from __future__ import annotations

import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvcache.formats import find_format, register_format
from cvcache.testing.equal import settled

if TYPE_CHECKING:
    from cvcache.node import CacheDir


def dtype_of(value: object) -> str:
    """Return the dtype of an array as text, which a pickle may change; empty for anything else."""
    return str(getattr(value, "dtype", ""))


def read_elsewhere(node: CacheDir, names: list[str], folder: Path) -> list[tuple[Any, str]]:
    """Return what another process reads of `node`, and its dtype; `folder` is for the exchange.

    It gets the handle as a pickle.
    """
    form = find_format(names[0])
    target = form.target.__name__ if isinstance(form.target, types.ModuleType) else form.target
    job = {"paths": sys.path, "names": names, "suffix": form.suffix, "inner": pickle.dumps((node, target))}
    (folder / "job").write_bytes(pickle.dumps(job))
    command = [sys.executable, "-m", __name__, str(folder / "job"), str(folder / "result")]
    subprocess.run(command, check=True)  # noqa: S603 - this very module
    read: list[tuple[Any, str]] = pickle.loads((folder / "result").read_bytes())  # noqa: S301 - written by the line before
    return read


def main(job: str, result: str) -> None:
    """Carry out what `read_elsewhere` asks for."""
    told = pickle.loads(Path(job).read_bytes())  # noqa: S301 - our parent wrote it
    sys.path[:] = told["paths"]
    node, target = pickle.loads(told["inner"])  # noqa: S301 - the same
    register_format(told["suffix"], target)
    read = [node.read(name) for name in told["names"]]
    for value in read:
        settled(value)
    Path(result).write_bytes(pickle.dumps([(value, dtype_of(value)) for value in read]))


if __name__ == "__main__":
    main(*sys.argv[1:])
