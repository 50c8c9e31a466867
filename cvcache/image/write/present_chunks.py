"""What an earlier attempt left of an image, block by block: the listing is the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cvcache.image.write.task import Index, Plan

if TYPE_CHECKING:
    import numpy as np


class Ledger:
    """Which blocks need no computing, since they and all below them were written before.

    Attributes
    ----------
    objects, bytes : int
        How many objects are kept, and their size.
    """

    def __init__(self, plan: Plan, kept: Mapping[str, int]) -> None:
        self._complete: list[Any] = []
        self.objects = self.bytes = 0
        if kept:
            self._look(plan, kept)

    def _look(self, plan: Plan, kept: Mapping[str, int]) -> None:
        import numpy as np

        for n, spec in enumerate(plan.specs):
            present = {key: index for key in kept if (index := spec.index_of(key)) is not None and kept[key]}
            there = np.zeros(spec.grid, dtype=bool)
            for index in present.values():
                there[index] = True
            per_block = [b // u for b, u in zip(plan.blocks[n], spec.unit, strict=True)]
            complete: Any = _all_of(there, per_block, plan.grid(n))
            if n:
                steps = zip(plan.blocks[n], plan.steps[n - 1], plan.blocks[n - 1], strict=True)
                below = _all_of(self._complete[-1], [b * s // c for b, s, c in steps], plan.grid(n))
                complete &= below
            self._complete.append(complete)
            for key, index in present.items():
                if complete[tuple(i // r for i, r in zip(index, per_block, strict=True))]:
                    self.objects += 1
                    self.bytes += kept[key]

    def below(self, n: int, index: Index) -> bool:
        """Whether a block of level `n` and all it is made of are there."""
        return bool(self._complete) and bool(self._complete[n][index])


def _all_of(flags: np.ndarray, ratio: list[int], blocks: Index) -> np.ndarray:
    """Return, per group of `ratio` flags along each axis, whether all of them are set."""
    import numpy as np

    short = [(0, n * r - extent) for n, r, extent in zip(blocks, ratio, flags.shape, strict=True)]
    padded = np.pad(flags, short, constant_values=True)
    split = padded.reshape([part for n, r in zip(blocks, ratio, strict=True) for part in (n, r)])
    return np.asarray(split.all(axis=tuple(range(1, split.ndim, 2))))
