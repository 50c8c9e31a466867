"""The environment of a result: versions of Python and of the loaded packages, git commit, peak memory."""

from __future__ import annotations

import functools
import os
import platform
import sys
from typing import Any

from cvcache.keys import is_installed

_GIT_TIMEOUT = 2.0


def environment() -> dict[str, Any]:
    """Return what is recorded of this process; nothing in it can be a secret.

    Returns
    -------
    dict
        ``python``, ``platform``, ``packages`` (name -> version of each installed package that is loaded and says its
        version), ``peak_memory`` (bytes this process held at most, so far) and, where the script or the current
        directory is under git, ``git``: ``commit`` and ``dirty`` as they were at the first call.

    Notes
    -----
    About 30 ms the first time, for git; then under 1 ms. No store call.
    """
    facts = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": _packages(),
        "peak_memory": _peak_memory(),
    }
    git = _git(_project())
    return {**facts, "git": git} if git else facts


def _packages() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name, module in sorted(sys.modules.items()):
        version = getattr(module, "__dict__", {}).get("__version__") if "." not in name and module is not None else None
        if isinstance(version, str) and name not in sys.stdlib_module_names and is_installed(name):
            versions[name] = version
    return {**versions, "cvcache": _own_version()}


@functools.cache
def _own_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("cvcache")
    except PackageNotFoundError:  # run from a directory, not installed
        return "unknown"


def _peak_memory() -> int:
    """Return the most bytes this process held in memory at a time; 0 if the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _project() -> str:
    """Return the directory of the script that runs; the current one in a notebook or an interpreter."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return os.path.dirname(os.path.abspath(file)) if file else os.getcwd()


@functools.cache
def _git(directory: str) -> dict[str, Any] | None:
    """Return commit and dirty flag of the work tree `directory` is in; None where there is none, or no git."""
    commit = _run_git(directory, "rev-parse", "HEAD")
    if not commit:
        return None
    changed = _run_git(directory, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changed is None else bool(changed)}


def _run_git(directory: str, *arguments: str) -> str | None:
    import subprocess  # 5 ms, once a process and only where something is computed

    # optional locks would disturb other git processes in this tree; hooks and fsmonitor of the tree are not run
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", directory, *arguments]
    try:
        process = subprocess.run(  # noqa: S603 - git by its name, with arguments of ours
            command, capture_output=True, text=True, timeout=_GIT_TIMEOUT, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip() if process.returncode == 0 else None
