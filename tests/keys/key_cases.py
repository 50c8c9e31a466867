"""Many values and their keys, the same in every process; run as a script it prints them as JSON.

``python tests/keys/key_cases.py plain`` leaves numpy out.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import functools
import json
import pathlib
import random
import sys
import uuid
from typing import Any

from cvcache.keys import Canonical, canonical_key, digest

LEVEL = 3


class Mode(enum.Enum):
    FAST = 1
    GOOD = 2


@dataclasses.dataclass(frozen=True)
class Params:
    """How to filter."""

    sigma: float = 1.0
    sizes: tuple[int, ...] = (3, 3)

    def grown(self) -> Params:
        return dataclasses.replace(self, sigma=2 * self.sigma)


class Item:
    def __init__(self, version: str) -> None:
        self.version = version

    def __cvcache_key__(self) -> Canonical:
        return Canonical({"$item": "raw.ome.zarr", "version": self.version})


def smooth(image: Any, *, sigma: float = 2.0) -> Any:
    return [helper(part) ** sigma for part in image if part > LEVEL]


def helper(part: Any) -> Any:
    """Help."""
    match part:
        case {"x": [1, *rest], **more} if rest:
            return f"{rest!r:>{len(more)}}"
        case _:
            return part


def adder(amount: float) -> Any:
    def add(x: float) -> float:
        return x + amount

    return add


def nested(draw: random.Random, depth: int = 0) -> Any:
    """Return a value of plain parts, the same for the same generator in every Python."""
    leaves = [
        lambda: draw.randrange(-(2**80), 2**80) >> draw.randrange(160),
        lambda: draw.uniform(-1e6, 1e6),
        lambda: draw.choice([None, True, False, "", "é", "$tuple", "\ud800", 0.0, -0.0, float("nan"), float("inf")]),
        lambda: "".join(draw.choice("ab$.é/") for _ in range(draw.randrange(8))),
        lambda: bytes(draw.randrange(256) for _ in range(draw.randrange(5))),
    ]
    if depth > 3 or draw.random() < 0.3:
        return draw.choice(leaves)()
    parts = [nested(draw, depth + 1) for _ in range(draw.randrange(5))]
    names = [draw.choice("abcdefgh") * draw.randrange(1, 4) for _ in parts]
    return draw.choice([list, tuple, lambda x: dict(zip(names, x, strict=True)), lambda x: set(names) or x])(parts)


def plain() -> dict[str, Any]:
    values: dict[str, Any] = {f"plain {seed}": nested(random.Random(seed)) for seed in range(400)}
    values |= {f"item {n}": [Item(f"{n:x}" * 8)] for n in range(8)}
    values |= {
        "plain enum": [Mode.FAST, Mode.GOOD, Mode],
        "plain dataclass": [Params(), Params(2.0), Params],
        "plain date": [dt.datetime(2026, 1, 2, tzinfo=dt.UTC), dt.date(2026, 1, 2), dt.timedelta(1.5)],
        "plain path": [pathlib.PurePosixPath("a/b"), uuid.UUID(int=7), decimal.Decimal("1.50")],
        "plain range": [range(3), slice(1, None), ..., 1 + 2j, frozenset("abc")],
        "code function": smooth,
        "code lambda": lambda x, k=3: x + k,
        "code closure": [adder(1), adder(2)],
        "code partial": functools.partial(smooth, sigma=Mode.GOOD),
        "code method": Params(3.0).grown,
        "code class": Params,
    }
    return values


def of_numpy() -> dict[str, Any]:
    import numpy as np

    draw = np.random.Generator(np.random.PCG64(7))
    large = draw.integers(0, 2**16, (600, 1000), dtype="u2")
    return {
        "numpy small": [np.arange(6.0), np.arange(6, dtype=">i2").reshape(2, 3).T, np.float32(1.5), np.dtype("f4")],
        "numpy large": [large, large.T, large[::2, ::3], np.asfortranarray(large), large.astype(">u2")],
        "numpy other": [np.array(["a", "bb"]), np.zeros((2, 0)), np.datetime64(7, "s"), np.zeros(2, [("a", "f4")])],
        "numpy function": [np.add, np.linalg.norm, np.float64],
    }


def digests(only: str = "") -> dict[str, str]:
    values = plain() | ({} if only == "plain" else of_numpy())
    return {name: digest(canonical_key(value)) for name, value in values.items()}


if __name__ == "__main__":
    print(json.dumps(digests(*sys.argv[1:])))  # noqa: T201 - this is the command
