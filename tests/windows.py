"""What it takes to open a window, and whether it is here."""

from __future__ import annotations

import importlib.util

__all__ = ["missing"]

BINDINGS = ("PyQt6", "PySide6")


def missing(*more: str) -> str:
    """Say which of napari, qtpy, a binding of Qt and `more` is not installed; nothing if all are."""
    absent = [name for name in ("napari", "qtpy", *more) if not _installed(name)]
    if not any(map(_installed, BINDINGS)):
        absent.append("PyQt6")
    if absent:
        return f"{', '.join(absent)} is not installed; this brings it: pip install '.[napari]' --group test-napari"
    return ""


def _installed(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    # a folder of that name, such as tests/napari, is no package
    return spec is not None and spec.origin is not None
