"""One peer, once, in this process: what it took and whether it wrote the right thing.

    python -m peers.one NAME SIZE DIRECTORY plain|shards

The answer is one line of JSON. `pyramid_write.py` starts these; each needs a fresh process, for the peak
of a process's memory is that of its whole life.
"""

from __future__ import annotations

import itertools
import json
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from peers.volume import CHUNKS, SHAPES, SOURCE, Block, Volume, make
from peers.writers import PEERS

ASKED = (r'"cname":"zstd"', r'"clevel":1\b', r'"shuffle":(1\b|"shuffle")')
"""What the metadata of each level has to say about its codec, without the blanks."""


def main(name: str, size: str, directory: str, layout: str) -> None:
    """Import, write something tiny, write the volume, look at it, print."""
    place = Path(directory)
    peer = PEERS[name]
    _two_dask_threads()
    write = peer.load(shards=layout == "shards")
    before, clean = _memory("VmRSS"), _forget_peak()
    _warm_up(write, place)
    volume = Volume(SHAPES[size], str(place / "calls"))
    out = place / "out"
    out.mkdir()
    cpu, wall = _cpu(), time.perf_counter()
    finish = write(volume, str(out))
    wall, cpu = time.perf_counter() - wall, _cpu() - cpu
    after = _after(finish)
    found: dict[str, Any] = {
        **after,
        "cpu": cpu,
        "wall": wall,
        "peak": (_memory("VmHWM") - before) if clean else None,
        "calls": _calls(volume),
        "files": sum(path.is_file() for path in out.rglob("*")),
        "bytes": sum(path.stat().st_size for path in out.rglob("*") if path.is_file()),
    }
    sys.stdout.write(json.dumps(found | _look(out, volume)) + "\n")


def _two_dask_threads() -> None:
    import dask

    dask.config.set(scheduler="threads", num_workers=2)


def _warm_up(write: Any, place: Path) -> None:
    """Write one block, so that what is imported or started on first use is in no one's time.

    The memory that takes is not taken off: the peak counts from before.
    """
    first = place / "first"
    first.mkdir()
    _after(write(Volume(SOURCE, str(place / "first-calls")), str(first)))


def _after(finish: Any) -> dict[str, float]:
    """Carry out what a peer does beyond writing the image: cvcache's commit makes it survive a power cut."""
    if finish is None:
        return {}
    cpu, wall = _cpu(), time.perf_counter()
    finish()
    return {"after_wall": time.perf_counter() - wall, "after_cpu": _cpu() - cpu}


def _cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _forget_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _calls(volume: Volume) -> list[float]:
    """Return the mean and the most calls of any block."""
    made = Path(volume.calls).read_text().split("\n")[:-1]
    counts = [made.count(str(block)) for block in volume.blocks]
    return [len(made) / len(counts), max(counts) if min(counts) else 0]


def _look(out: Path, volume: Volume) -> dict[str, Any]:
    """Compare what is stored with the source and with the mean of the level below."""
    import zarr

    documents = sorted(path for name in ("zarr.json", ".zarray") for path in out.rglob(name))
    opened = [(zarr.open(str(path.parent), mode="r"), path.read_text()) for path in documents]
    arrays = [pair for pair in opened if isinstance(pair[0], zarr.Array) and pair[0].ndim == len(SOURCE)]
    arrays.sort(key=lambda pair: -pair[0].size)
    levels = [array for array, _ in arrays]
    if not levels:
        return {"levels": 0, "level0": "-", "shrunk": "-"}
    some = [volume.blocks[i] for i in np.linspace(0, len(volume.blocks) - 1, 6).astype(int)]
    same = levels[0].shape == volume.shape and all(
        np.array_equal(np.asarray(levels[0][_where(block)]), make(block)) for block in some
    )
    shrunk = [_kind(levels[0], levels[1], [(_where(b), make(b)) for b in some])] if len(levels) > 1 else ["-"]
    for below, above in itertools.pairwise(levels[1:]):
        where = tuple(slice(0, min(n, 2 * chunk)) for n, chunk in zip(below.shape, CHUNKS, strict=True))
        shrunk.append(_kind(below, above, [(where, np.asarray(below[where]))]))
    different = [f"level {i}: {kind}" for i, kind in enumerate(shrunk, 1) if kind != shrunk[0]]
    level0 = "equal" if same else "WRONG"
    asked = all(re.search(part, re.sub(r"\s", "", text)) for part in ASKED for _, text in arrays)
    if levels[0].chunks != CHUNKS or not asked:
        level0 += ", other chunks or codec"
    return {"levels": len(levels), "level0": level0, "shrunk": "; ".join(shrunk[:1] + different)}


def _where(block: Block) -> tuple[slice, ...]:
    return tuple(slice(i * n, (i + 1) * n) for i, n in zip(block, SOURCE, strict=True))


def _kind(below: Any, above: Any, parts: list[tuple[tuple[slice, ...], np.ndarray]]) -> str:
    """Say how `above` was made of `below`: by the mean, by picking, or how far from the mean it is."""
    factors = tuple(round(a / b) for a, b in zip(below.shape, above.shape, strict=True))
    picks = set(itertools.product(*map(range, factors)))
    furthest = 0.0
    for where, pixels in parts:
        got = np.asarray(above[tuple(slice(s.start // f, s.stop // f) for s, f in zip(where, factors, strict=True))])
        split = [n for extent, f in zip(pixels.shape, factors, strict=True) for n in (extent // f, f)]
        mean = pixels.reshape(split).mean(axis=tuple(range(1, 2 * pixels.ndim, 2)))
        if got.shape != mean.shape:
            return f"shape {above.shape}"
        furthest = max(furthest, float(np.abs(got - mean).max()))
        picks = {
            pick
            for pick in picks
            if np.array_equal(got, pixels[tuple(slice(i, None, f) for i, f in zip(pick, factors, strict=True))])
        }
    by = "x".join(map(str, factors))
    if furthest < 1:
        return f"mean {by}"
    return f"nearest {by}" if picks else f"{by}, {furthest:.0f} from the mean"


if __name__ == "__main__":
    main(*sys.argv[1:])
