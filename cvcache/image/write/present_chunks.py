"""Blocks of an image that an earlier attempt wrote completely, found by the listing of its objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cvcache.image.write.task import Index, Plan

if TYPE_CHECKING:
    import numpy as np


class PresentChunks:
    """Blocks that need not be computed, because they and all blocks they are made of exist.

    Attributes
    ----------
    objects, bytes : int
        Number and size of the objects that are reused.
    """

    def __init__(self, plan: Plan, present: Mapping[str, int]) -> None:
        self._complete: list[Any] = []
        self.objects = self.bytes = 0
        if present:
            self._mark_complete(plan, present)

    def _mark_complete(self, plan: Plan, present: Mapping[str, int]) -> None:
        import numpy as np

        for n, spec in enumerate(plan.specs):
            object_indices = {
                key: index for key in present if (index := spec.object_index(key)) is not None and present[key]
            }
            flags = np.zeros(spec.grid, dtype=bool)
            for index in object_indices.values():
                flags[index] = True
            per_block = [b // u for b, u in zip(plan.blocks[n], spec.object_shape, strict=True)]
            complete: Any = _all_of(flags, per_block, plan.grid(n))
            if n:
                steps = zip(plan.blocks[n], plan.steps[n - 1], plan.blocks[n - 1], strict=True)
                complete_below = _all_of(self._complete[-1], [b * s // c for b, s, c in steps], plan.grid(n))
                complete &= complete_below
            self._complete.append(complete)
            for key, index in object_indices.items():
                if complete[tuple(i // r for i, r in zip(index, per_block, strict=True))]:
                    self.objects += 1
                    self.bytes += present[key]

    def is_present(self, n: int, index: Index) -> bool:
        """Whether a block of level `n` and all blocks it is made of exist."""
        return bool(self._complete) and bool(self._complete[n][index])


def _all_of(flags: np.ndarray, ratio: list[int], blocks: Index) -> np.ndarray:
    """Return, for each group of `ratio` flags along each axis, whether all are set."""
    import numpy as np

    short = [(0, n * r - extent) for n, r, extent in zip(blocks, ratio, flags.shape, strict=True)]
    padded = np.pad(flags, short, constant_values=True)
    split = padded.reshape([part for n, r in zip(blocks, ratio, strict=True) for part in (n, r)])
    return np.asarray(split.all(axis=tuple(range(1, split.ndim, 2))))
