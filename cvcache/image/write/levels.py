"""Writes all levels of an image in one dask graph: a tree of tasks that each write whole objects.

A task gets one *block* of its level, writes it, and returns its downsampled copy and the counts so far. Each
block of the source is computed once, no two tasks write the same object, nothing is read back, and the caller
receives only counts. Chunks of an earlier attempt are not written again: a complete part of the tree is read
back if the next level needs it, else skipped.
"""

from __future__ import annotations

import functools
import itertools
import math
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cvcache.errors import ItemDamaged, NotReproducible, UsageError
from cvcache.image.write.histogram import compute_histogram
from cvcache.image.write.present_chunks import PresentChunks
from cvcache.image.write.progress import ProgressCallback, log_task_done, report_progress
from cvcache.image.write.task import Index, Plan, WriteCounts
from cvcache.store import gather

if TYPE_CHECKING:
    import dask.array as da
    import numpy as np

    from cvcache.formats import ItemPath

FAN_IN = 64
"""Number of results whose counts one task adds up."""


def write_pyramid(
    plan: Plan,
    source: da.Array,
    present: Mapping[str, int] | None = None,
    *,
    scheduler: str | None = None,
    progress_callback: ProgressCallback | None = None,
) -> WriteCounts:
    """Write all objects of all levels, except those of an earlier attempt, and return their counts.

    Parameters
    ----------
    plan : Plan
    source : dask.array.Array
        Of the shape of level 0.
    present : mapping, optional
        Key -> size in bytes of the objects that an earlier attempt wrote completely.
    scheduler : str, optional
        Of dask; the configured one if not given.
    progress_callback : callable, optional
        Called with (blocks done, blocks in all).

    Returns
    -------
    WriteCounts
        Objects and bytes of the whole image. Limits only if all of level 0 was computed.

    Raises
    ------
    NotReproducible
        A block of `source` has another dtype or shape than `source` says.
    ItemDamaged
        Fewer objects were written than the image has.

    Notes
    -----
    One PUT per object written, one GET per object read back.
    """
    if 0 in plan.specs[0].shape:
        return WriteCounts()
    present_chunks = PresentChunks(plan, present or {})
    counts = _compute(plan, source, present_chunks, scheduler, progress_callback)
    if counts.objects + present_chunks.objects != plan.object_count:
        written = counts.objects + present_chunks.objects
        msg = f"{plan.item.url} is incomplete: {written} of {plan.object_count} objects were written"
        raise ItemDamaged(msg)
    limits = {} if present_chunks.objects else counts.limits
    return counts._replace(objects=plan.object_count, bytes=counts.bytes + present_chunks.bytes, limits=limits)


def _compute(
    plan: Plan,
    source: da.Array,
    present_chunks: PresentChunks,
    scheduler: str | None,
    progress_callback: ProgressCallback | None,
) -> WriteCounts:
    import dask.array as da
    from dask.base import compute_as_if_collection
    from dask.highlevelgraph import HighLevelGraph

    name = f"cvcache-write-{uuid.uuid4().hex}"
    blocks: Any = source.rechunk(plan.blocks[0], method="tasks")
    distributed = scheduler is None and is_distributed(source)
    plan = replace(plan, progress_topic=name) if distributed and progress_callback is not None else plan
    tasks: dict[Any, Any] = dict(_task_tree(plan, name, blocks.name, present_chunks))
    total = len(tasks)
    last = len(plan.specs) - 1
    top_tasks: list[Any] = [(name, last, *index) for index in itertools.product(*map(range, plan.grid(last)))]
    round_ = 0
    while round_ == 0 or len(top_tasks) > 1:
        round_ += 1
        groups = [top_tasks[i : i + FAN_IN] for i in range(0, len(top_tasks), FAN_IN)]
        top_tasks = [(f"{name}-sum", round_, i) for i in range(len(groups))]
        tasks.update({key: (_add_counts, group) for key, group in zip(top_tasks, groups, strict=True)})
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[blocks])
    with report_progress(progress_callback, name, total, distributed=distributed):
        ((_, counts),) = compute_as_if_collection(da.Array, graph, top_tasks, scheduler=scheduler)
    return WriteCounts(*counts)


def _task_tree(plan: Plan, name: str, source: str, present_chunks: PresentChunks) -> Iterator[tuple[Any, Any]]:
    """Yield key and task of each block that must be written or read back."""
    last = len(plan.specs) - 1
    pending = [(last, index) for index in itertools.product(*map(range, plan.grid(last)))]
    while pending:
        n, index = pending.pop()
        key = (name, n, *index)
        if present_chunks.is_present(n, index):
            yield key, (functools.partial(_read_block, plan, n, index),)
        elif n == 0:
            yield key, (functools.partial(_write_source, plan, index), (source, *index))
        else:
            children = list(plan.children(n, index))
            pending.extend((n - 1, child) for child in children)
            yield key, (functools.partial(_write_block, plan, n, index), [(name, n - 1, *child) for child in children])


def is_distributed(source: da.Array) -> bool:
    """Whether a distributed client would compute `source`."""
    import dask

    get = dask.base.get_scheduler(collections=[source])
    return getattr(get, "__self__", None) is not None and hasattr(get.__self__, "scheduler")


def needs_sharing(item: ItemPath, source: da.Array) -> bool:
    """Whether computing `source` hands tasks to other processes.

    Raises
    ------
    UsageError
        It does, and they cannot see the store.
    """
    import dask
    import dask.local
    import dask.threaded

    get = dask.base.get_scheduler(collections=[source])
    if get is None or get in (dask.threaded.get, dask.local.get_sync):
        return False
    client = getattr(get, "__self__", None)
    address = str(getattr(getattr(client, "scheduler", None), "address", ""))
    if not item.store.shared and not address.startswith("inproc://"):
        msg = f"{item.url} is visible to this process only, and dask computes in others; use a directory or bucket"
        raise UsageError(msg)
    return True


TaskResult = tuple["np.ndarray | None", WriteCounts]
"""Result of a task: its part of the next level, and the counts so far."""


def _write_source(plan: Plan, index: Index, block: np.ndarray) -> TaskResult:
    """Write one block of level 0."""
    shape = tuple(part.stop - part.start for part in plan.region(0, index))
    if str(block.dtype) != plan.dtype or block.shape != shape:
        msg = (
            f"{plan.item.url} was not written: the dask array says {plan.dtype} {shape}, but a block of it came out "
            f"as {block.dtype} {block.shape}; name the right dtype= and chunks= in the map_blocks that makes it"
        )
        raise NotReproducible(msg)
    block = block.astype(plan.specs[0].dtype, copy=False)
    limits = {i: _finite_limits(part) for i, part in _channels(plan, index, 0, block)} if plan.statistics else {}
    return _write_objects(plan, 0, index, block, WriteCounts(limits={i: pair for i, pair in limits.items() if pair}))


def _write_block(plan: Plan, n: int, index: Index, parts: list[TaskResult]) -> TaskResult:
    """Write one block of a coarser level, from the results of its children."""
    import numpy as np

    region = plan.region(n, index)
    block = np.empty([part.stop - part.start for part in region], dtype=plan.specs[n].dtype)
    counts = WriteCounts()
    for child, (tile, below) in zip(plan.children(n, index), parts, strict=True):
        counts = counts.plus(below)
        child_regions = zip(plan.region(n - 1, child), plan.steps[n - 1], region, strict=True)
        block[tuple(slice(a.start // f - b.start, -(-a.stop // f) - b.start) for a, f, b in child_regions)] = tile
    return _write_objects(plan, n, index, block, counts)


def _write_objects(plan: Plan, n: int, index: Index, block: np.ndarray, counts: WriteCounts) -> TaskResult:
    """Write the objects of one block, and return the result of the task."""
    spec = plan.specs[n]
    origin = [part.start for part in plan.region(n, index)]

    def encode(object_index: Index) -> tuple[str, list[bytes]]:
        corner = zip(object_index, spec.object_shape, origin, strict=True)
        return spec.key(object_index), spec.encode(
            block[tuple(slice(i * u - o, (i + 1) * u - o) for i, u, o in corner)]
        )

    def put(pair: tuple[str, list[bytes]]) -> int:
        key, parts = pair
        plan.item.put_parts(parts, key)
        return sum(map(len, parts))

    objects = (encode(object_index) for object_index in plan.object_indices(n, index))
    sizes = gather(put, objects, remote=True) if plan.item.remote else [put(pair) for pair in objects]
    if plan.progress_topic:
        log_task_done(plan.progress_topic)
    return _task_result(plan, n, index, block, counts.plus(WriteCounts(len(sizes), sum(sizes))))


def _read_block(plan: Plan, n: int, index: Index) -> TaskResult:
    """Read one block back that an earlier attempt wrote, and return the result of the task."""
    from cvcache.image.read import StoredArray

    spec = plan.specs[n]
    region = tuple(slice(part.start, part.stop, 1) for part in plan.region(n, index))
    return _task_result(
        plan, n, index, StoredArray(plan.item, spec, region, spec.numpy_dtype(), complete=True)[...], WriteCounts()
    )


def _task_result(plan: Plan, n: int, index: Index, block: np.ndarray, counts: WriteCounts) -> TaskResult:
    from cvcache.image.write.downsample import downsample

    if n < len(plan.specs) - 1:
        return downsample(block, plan.steps[n], plan.method), counts
    if not plan.statistics:
        return None, counts
    histograms = {
        i: histogram for i, part in _channels(plan, index, n, block) if (histogram := compute_histogram(part))
    }
    return None, counts.plus(WriteCounts(histograms=histograms))


def _channels(plan: Plan, index: Index, n: int, block: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield number and pixels of each channel in a block."""
    if plan.channel_axis is None:
        yield 0, block
        return
    first = plan.region(n, index)[plan.channel_axis].start
    for i in range(block.shape[plan.channel_axis]):
        yield first + i, block[(slice(None),) * plan.channel_axis + (i,)]


def _finite_limits(pixels: np.ndarray) -> tuple[float, float] | None:
    import numpy as np

    low, high = pixels.min().item(), pixels.max().item()
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    finite = pixels[np.isfinite(pixels)]
    return (finite.min().item(), finite.max().item()) if finite.size else None


def _add_counts(results: list[TaskResult]) -> TaskResult:
    return None, functools.reduce(WriteCounts.plus, (counts for _, counts in results))
