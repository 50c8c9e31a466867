"""Read items in another process: ``python -m cvcache.testing.other_process JOB RESULT``."""

from __future__ import annotations

import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvcache.formats import find_format, register_format
from cvcache.testing.equal import materialize

if TYPE_CHECKING:
    from cvcache.node import CacheDir


def dtype_of(value: object) -> str:
    """Return the dtype of an array as str, because a pickle may change it; empty for other values."""
    return str(getattr(value, "dtype", ""))


def read_in_other_process(node: CacheDir, names: list[str], folder: Path) -> list[tuple[Any, str]]:
    """Return the value and dtype of each item of `node`, as read in another process; `folder` is for the exchange.

    The other process gets the handle as a pickle.
    """
    item_format = find_format(names[0])
    target = item_format.target.__name__ if isinstance(item_format.target, types.ModuleType) else item_format.target
    job = {"paths": sys.path, "names": names, "suffix": item_format.suffix, "inner": pickle.dumps((node, target))}
    (folder / "job").write_bytes(pickle.dumps(job))
    command = [sys.executable, "-m", __name__, str(folder / "job"), str(folder / "result")]
    subprocess.run(command, check=True)  # noqa: S603 - this very module
    read: list[tuple[Any, str]] = pickle.loads((folder / "result").read_bytes())  # noqa: S301 - written by the line before
    return read


def main(job: str, result: str) -> None:
    """Run the job of `read_in_other_process`."""
    request = pickle.loads(Path(job).read_bytes())  # noqa: S301 - our parent wrote it
    sys.path[:] = request["paths"]
    node, target = pickle.loads(request["inner"])  # noqa: S301 - the same
    register_format(request["suffix"], target)
    read = [node.read(name) for name in request["names"]]
    for value in read:
        materialize(value)
    Path(result).write_bytes(pickle.dumps([(value, dtype_of(value)) for value in read]))


if __name__ == "__main__":
    main(*sys.argv[1:])
