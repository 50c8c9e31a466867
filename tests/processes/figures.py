"""How a loop tells what it counted."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Figures"]


class Figures:
    """Counts of one loop, told once at its end.

    Parameters
    ----------
    title
        What the loop does.
    record
        pytest's ``record_property``.
    """

    def __init__(self, title: str, record: Callable[[str, object], None]) -> None:
        self.title = title
        self._record = record
        self._counts: dict[str, int] = {}
        self._started = time.monotonic()

    def __getitem__(self, name: str) -> int:
        return self._counts.get(name, 0)

    def add(self, name: str, count: int = 1) -> Self:
        """Count."""
        self._counts[name] = self[name] + count
        return self

    def tell(self) -> None:
        """Record every count, print one line, and append it as a row to the file ``CVCACHE_FIGURES`` names."""
        seconds = round(time.monotonic() - self._started, 1)
        for name, value in {**self._counts, "seconds": seconds}.items():
            self._record(name, value)
        line = ", ".join(f"{value:,} {name}" for name, value in self._counts.items())
        print(f"\n{self.title}: {line} ({seconds} s)")  # noqa: T201  # pytest -s shows it
        if table := os.environ.get("CVCACHE_FIGURES"):
            with Path(table).open("a", encoding="utf-8") as file:
                file.write(f"| {self.title} | {line} | {seconds} s |\n")
