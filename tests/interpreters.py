"""The Pythons of this machine, and what they need to import cvcache's keys without packages of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import lazy_loader

import cvcache


def pythons() -> list[str]:
    """Give this interpreter and others that are installed."""
    versions = sorted(Path.home().glob(".pyenv/versions/3.1[1-9]*/bin/python"))
    return [sys.executable, *map(str, versions)]


def path_of_cvcache(folder: Path) -> str:
    """Give a ``PYTHONPATH`` on which lie cvcache and, by a link in `folder`, the one package that its faces import."""
    link = folder / "path_of_cvcache" / "lazy_loader"
    if not link.exists():
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(Path(lazy_loader.__file__).parent)
    return os.pathsep.join([str(Path(cvcache.__file__).parents[1]), str(link.parent)])
