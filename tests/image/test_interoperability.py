"""What others read of our images and we of theirs is what docs/reference/interoperability.md says.

``python tests/image/test_interoperability.py --write`` rewrites the tables there. CVCACHE_PEERS_PYTHON names an
interpreter that has the other libraries; what it lacks is looked for in this one.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interop_cases import MISSING, OK, READERS, WRITERS, attempt, equal, facts_of, keep, pixels_of, same
from servers.missing import unavailable

from cvcache.formats import ItemWrite, find_format
from cvcache.image.write import downsample
from cvcache.store import LocalStore

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "reference" / "interoperability.md"
FORM = find_format("x.ome.zarr")
ZARRITA = "zarrita@0.7.5"
SECONDS = 240
VERSIONS_MARK = "<!-- versions -->"
READ_MARK, WRITE_MARK = "<!-- what others read -->", "<!-- what others write -->"
_RNG = np.random.default_rng(0)


def numbers(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return _RNG.integers(0, 250, shape).astype(dtype)


_SPACE: dict[str, Any] = {"scale": {"z": 2.0, "y": 0.5, "x": 0.5}, "unit": "um", "levels": 2}
_SERIES: dict[str, Any] = {
    **_SPACE,
    "unit": {"t": "s", "z": "um", "y": "um", "x": "um"},
    "channels": ["DAPI", "GFP"],
    "chunks": (1, 1, 4, 16, 16),
}
IMAGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "0.5": (lambda: numbers(9, 60, 70), {**_SPACE, "chunks": (4, 32, 32)}),
    "0.5, shards": (lambda: numbers(9, 60, 70), {**_SPACE, "chunks": (4, 16, 16), "shards": (8, 32, 32)}),
    "0.5, gzip": (lambda: numbers(9, 60, 70), {**_SPACE, "compressor": "gzip"}),
    "0.5, zstd": (lambda: numbers(9, 60, 70), {**_SPACE, "compressor": "zstd"}),
    "0.5, not compressed": (lambda: numbers(9, 60, 70), {**_SPACE, "compressor": None}),
    "0.5, tczyx, channels": (lambda: numbers(2, 2, 5, 30, 30), _SERIES),
    "0.5, tczyx, shards": (lambda: numbers(2, 2, 5, 30, 30), {**_SERIES, "shards": (1, 2, 8, 32, 32)}),
    "0.5, float32": (lambda: numbers(9, 60, 70, dtype="float32") / 3, _SPACE),
    "0.5, int64": (lambda: numbers(60, 70, dtype="int64"), {"scale": (0.5, 0.5), "levels": 2}),
    "0.5, bool": (lambda: numbers(60, 70) > 99, {"scale": (0.5, 0.5), "levels": 2}),
    "0.5, complex64": (lambda: numbers(60, 70).astype("complex64"), {"levels": 2}),
    "0.5, one axis": (lambda: numbers(700), {"levels": 2}),
    "0.5, labels": (lambda: numbers(9, 60, 70, dtype="int32"), {**_SPACE, "kind": "labels"}),
    "0.4": (lambda: numbers(9, 60, 70), {**_SPACE, "chunks": (4, 32, 32), "version": "0.4"}),
    "0.4, gzip": (lambda: numbers(9, 60, 70), {**_SPACE, "version": "0.4", "compressor": "gzip"}),
    "0.4, tczyx, channels": (lambda: numbers(2, 2, 5, 30, 30), {**_SERIES, "version": "0.4"}),
    "0.4, float32": (lambda: numbers(9, 60, 70, dtype="float32") / 3, {**_SPACE, "version": "0.4"}),
    "0.4, labels": (lambda: numbers(9, 60, 70, dtype="int32"), {**_SPACE, "version": "0.4", "kind": "labels"}),
}

SCRIPT = """
import * as zarr from "zarrita";
import { FileSystemStore } from "@zarrita/storage";
import { mkdirSync, writeFileSync } from "node:fs";
const found = {};
for (const [image, levels] of JSON.parse(process.argv[2])) {
  try {
    const root = zarr.root(new FileSystemStore(image));
    const group = await zarr.open(root, { kind: "group" });
    const ome = group.attrs.ome ?? group.attrs;
    mkdirSync(image + ".raw");
    for (let n = 0; n < levels; n++) {
      const path = ome.multiscales[0].datasets[n].path;
      const pixels = await zarr.get(await zarr.open(root.resolve(path), { kind: "array" }));
      const data = pixels.data;
      const bytes = data.buffer ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : Uint8Array.from(data);
      writeFileSync(`${image}.raw/${n}`, bytes);
    }
    found[image] = "ok";
  } catch (error) { found[image] = `${error.name}: ${error.message}`; }
}
console.log(JSON.stringify(found));
"""


def write_ours(folder: Path) -> None:
    """Write all images, and beside them what they are to hold."""
    for name, (make, options) in IMAGES.items():
        pixels = make()
        meta = FORM.write(ItemWrite(LocalStore(), str(folder / f"{name}.ome.zarr")), pixels, progress=False, **options)
        stored = pixels.reshape(meta["shapes"][0])
        if options.get("kind") == "labels" and pixels.dtype == bool:
            stored = stored.astype("uint8")
        levels = [stored]
        for before, after in zip(meta["scales"], meta["scales"][1:], strict=False):
            steps = [round(b / a) for a, b in zip(before, after, strict=True)]
            levels.append(downsample(levels[-1], steps, "mode" if options.get("kind") == "labels" else "mean"))
        keep(
            folder,
            name,
            levels,
            version=options.get("version", "0.5"),
            axes=["y", *meta["axes"]] if meta["added"] else meta["axes"],
            unit=meta["unit"],
            scales=meta["scales"],
            translations=meta["translations"],
            **({"channels": options["channels"]} if "channels" in options else {}),
        )


def ask(python: str, verb: str, folder: Path) -> Any:
    """Run the cases in another process: a library that warns, or dies, leaves the test alone."""
    command = [python, str(HERE / "interop_cases.py"), verb, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout[done.stdout.index("{") :])


def interpreters() -> list[str]:
    peers = os.environ.get("CVCACHE_PEERS_PYTHON")
    return [*([peers] if peers else []), sys.executable]


def read_by_others(folder: Path) -> dict[str, dict[str, str]]:
    """Return, per reader and image of ours, what came of it."""
    write_ours(folder)
    found: dict[str, dict[str, str]] = {}
    for python in interpreters():
        for reader, cells in ask(python, "read", folder).items():
            if found.get(reader, {}).get("0.5.ome.zarr", MISSING) == MISSING:
                found[reader] = cells
    found["zarrita"] = read_by_zarrita(folder)
    return {reader: {name.removesuffix(".ome.zarr"): cell for name, cell in found[reader].items()} for reader in found}


def read_by_zarrita(folder: Path) -> dict[str, str]:
    """Return what came of reading with the JavaScript library that browsers use."""
    images = sorted(folder.glob("*.ome.zarr"))
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return {image.name: MISSING for image in images}
    with tempfile.TemporaryDirectory() as scratch:
        install = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", ZARRITA]
        if subprocess.run(install, cwd=scratch, capture_output=True, check=False, timeout=SECONDS).returncode:
            return {image.name: MISSING for image in images}
        (Path(scratch) / "read.mjs").write_text(SCRIPT)
        todo = json.dumps([[str(image), len(pixels_of(image))] for image in images])
        done = subprocess.run(
            [node, "read.mjs", todo], cwd=scratch, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    return {image.name: attempt(functools.partial(check_raw, said[str(image)]), image) for image in images}


def check_raw(said: str, image: Path) -> None:
    """Compare the bytes that node has put down with the pixels."""
    if said != OK:
        raise AssertionError(said)
    for n, level in enumerate(pixels_of(image)):
        raw = (image.with_name(f"{image.name}.raw") / str(n)).read_bytes()
        same(np.frombuffer(raw, level.dtype).reshape(level.shape), level, f"level {n}")


def read_by_us(image: Path) -> None:
    """Complain unless we read what another library wrote."""
    place, facts = ItemWrite(LocalStore(), str(image)), facts_of(image)
    meta = FORM.describe(place)
    equal(meta["axes"], facts["axes"], "axes")
    equal(meta["scales"], facts["scales"], "scale")
    equal(meta["unit"], facts["unit"], "unit")
    levels = pixels_of(image)
    equal(meta["levels"], len(levels), "the number of levels")
    for n, level in enumerate(levels):
        same(FORM.read(place, level=n), level, f"level {n}")
        same(FORM.read(place, level=n, slices=(0, ..., slice(1, None, 3))), level[0, ..., 1::3], f"a part of level {n}")


def written_by_others(folder: Path) -> dict[str, str]:
    """Return, per image of theirs, what came of reading it here; per library where it is not there at all."""
    wrote: dict[str, str] = {}
    for python in interpreters():
        part = folder / str(len(wrote))
        part.mkdir(parents=True)
        for writer, cell in ask(python, "write", part).items():
            if wrote.get(writer, MISSING) == MISSING:
                wrote[writer] = cell
        wrote.setdefault("", OK)
    failed = {writer: cell for writer, cell in wrote.items() if cell not in (OK, MISSING)}
    assert not failed, failed
    images = sorted(folder.glob("*/*.ome.zarr"))[::-1]  # of two of a name the one of the peers counts
    return dict(sorted((image.name.removesuffix(".ome.zarr"), attempt(read_by_us, image)) for image in images))


def read_table(cells: dict[str, dict[str, str]]) -> str:
    """Return what others read as a table: a row per image, a column per reader."""
    readers = [*READERS, "zarrita"]
    lines = [f"| image | {' | '.join(readers)} |", "|---" * (len(readers) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(cells[reader][name] for reader in readers)} |" for name in IMAGES]
    return "\n".join(lines)


def write_table(cells: dict[str, str]) -> str:
    """Return what we read of others as a table."""
    return "\n".join(["| image | cvcache |", "|---|---|", *(f"| {name} | {cell} |" for name, cell in cells.items())])


def rows(mark: str) -> list[list[str]]:
    """Return the cells of the table behind a mark, its heading first."""
    lines = PAGE.read_text().split(mark)[1].strip().splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [table[0], *table[2:]]


def known_reads() -> dict[tuple[str, str], str]:
    head, *body = rows(READ_MARK)
    return {(reader, row[0]): cell for row in body for reader, cell in zip(head[1:], row[1:], strict=True)}


def known_writes() -> dict[str, str]:
    return {row[0]: row[1] for row in rows(WRITE_MARK)[1:]}


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    return read_by_others(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def writes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return written_by_others(tmp_path_factory.mktemp("theirs"))


def test_the_page_names_every_image_and_reader() -> None:
    assert set(known_reads()) == {(reader, name) for reader in [*READERS, "zarrita"] for name in IMAGES}
    assert {name.partition(":")[0] for name in known_writes()} == {name.partition(",")[0] for name in WRITERS}


@pytest.mark.parametrize("reader", [*READERS, "zarrita"])
def test_others_read_what_the_page_says(reads: dict[str, dict[str, str]], reader: str) -> None:
    cells = reads[reader]
    if MISSING in cells.values():
        unavailable(reader, "tox -e peers brings it, and CVCACHE_PEERS_PYTHON names its Python; zarrita needs npm")
    known = known_reads()
    worse = {name: cell for name, cell in cells.items() if cell != OK and known[reader, name] == OK}
    assert not worse
    assert OK in cells.values()


@pytest.mark.parametrize("library", sorted({name.partition(",")[0] for name in WRITERS}))
def test_we_read_what_the_page_says(writes: dict[str, str], library: str) -> None:
    cells = {name: cell for name, cell in writes.items() if name.partition(":")[0] == library}
    if not cells:
        unavailable(library, "tox -e peers brings it, and CVCACHE_PEERS_PYTHON names its Python")
    known = known_writes()
    assert not {name: cell for name, cell in cells.items() if cell != OK and known.get(name, OK) == OK}


def versions(folder: Path) -> str:
    """Return which libraries the tables were made with."""
    known: dict[str, str] = {}
    for python in interpreters()[::-1]:
        known.update(ask(python, "versions", folder))
    known["zarrita"] = ZARRITA.partition("@")[2]
    return f"Made with {', '.join(f'{name} {version}' for name, version in sorted(known.items()))}."


def new_folder(parent: str, name: str) -> Path:
    folder = Path(parent) / name
    folder.mkdir()
    return folder


def rewrite() -> None:
    """Put the tables of this machine into the page."""
    text = PAGE.read_text()
    with tempfile.TemporaryDirectory() as folder:
        tables = {
            READ_MARK: read_table(read_by_others(new_folder(folder, "ours"))),
            WRITE_MARK: write_table(written_by_others(new_folder(folder, "theirs"))),
            VERSIONS_MARK: versions(Path(folder)),
        }
    for mark, table in tables.items():
        before, _, after = text.split(mark)
        text = f"{before}{mark}\n{table}\n{mark}{after}"
    PAGE.write_text(text)


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("python tests/image/test_interoperability.py --write")
    rewrite()
