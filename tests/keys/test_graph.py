"""A lazy array in a key stands for what it would compute, and for the items and files it is read from."""

from __future__ import annotations

import linecache
import os
import pathlib
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import pytest
from lineage_cases import CASES, adder, numbers, ones, power
from test_lineage import HELPER, SCRIPT, held_by_a_cluster, run

from cvcache import cdir, cdir_init, cdir_query, open_image, step
from cvcache.errors import UnkeyableValue
from cvcache.keys import canonical_key, dumps, key_differences
from cvcache.keys.graphs import lineage
from cvcache.node import snapshot_of

if TYPE_CHECKING:
    from cvcache import CacheDir

PIXELS = np.arange(4096, dtype="u2").reshape(64, 64)


@pytest.fixture
def root(tmp_path: pathlib.Path) -> CacheDir:
    return cdir(tmp_path / "cache")


@pytest.mark.parametrize("name", CASES)
def test_a_key_has_the_lineage_of_a_collection(name: str) -> None:
    assert canonical_key({"args": {"x": CASES[name]()}}) == {"args": {"x": lineage(CASES[name]())}}


def test_a_script_a_renamed_and_commented_one_and_an_edited_one(tmp_path: pathlib.Path) -> None:
    script = SCRIPT.replace(
        "cvcache.keys.graphs.lineage import lineage", "cvcache.keys import canonical_key as lineage"
    )

    def run_with(script: str, helper: str, name: str = "script.py") -> Any:
        (tmp_path / "helper.py").write_text(helper)
        (tmp_path / name).write_text(script)
        return run(name, folder=tmp_path)

    smooth, threshold = run_with(script, HELPER)
    assert run_with("# new\n\n" + script, '"""Help."""\n' + HELPER, "other.py") == [smooth, threshold]
    edited = run_with(script.replace("LEVEL = 3", "LEVEL = 4"), HELPER.replace("return 1", "return 2"))
    assert key_differences(smooth, edited[0]) == [": layer 'smooth' changed"]
    assert key_differences(threshold, edited[1]) == [": layer 'threshold' changed"]


def test_a_program_on_the_command_line_counts_like_a_script(tmp_path: pathlib.Path) -> None:
    program = "import dask.array as da, json\nfrom cvcache.keys import canonical_key\n{}\n"
    program += "print(json.dumps(canonical_key(da.ones(4).map_blocks(lambda block: block + {}))))\n"
    (tmp_path / "script.py").write_text(program.format("", 1))
    as_script = run("script.py", folder=tmp_path)
    assert run("-c", program.format("# a comment", 1), folder=tmp_path) == as_script
    assert run("-c", program.format("", 2), folder=tmp_path) != as_script


def test_a_notebook_cell_counts_the_same_in_two_kernels() -> None:
    def kernel(number: int, amount: int) -> Any:
        name = f"/tmp/ipykernel_{number}/{number}.py"
        cell = f"{'# edited elsewhere' * (number % 2)}\nimport dask.array as da\n"
        cell += f"x = da.ones(4).map_blocks(lambda b: b + {amount})\n"
        linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
        scope: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(cell, name, "exec"), scope)  # noqa: S102 - as a notebook does
        return canonical_key(scope["x"])

    assert kernel(1, 1) == kernel(2, 1) != kernel(3, 2)


def test_a_seeded_generator_agrees_and_one_without_a_seed_does_not() -> None:
    seeded, other = (lambda seed=seed: da.random.default_rng(seed).random(4) for seed in (7, None))
    assert canonical_key(seeded()) == canonical_key(seeded())
    assert canonical_key(other()) != canonical_key(other())
    kept = other()
    assert canonical_key(kept) == canonical_key(kept)


def test_an_impure_delayed_counts_by_its_call() -> None:
    draw = [dask.delayed(power, pure=False)(2, exponent=n) for n in (1, 1, 2)]
    assert draw[0].key != draw[1].key
    assert canonical_key(draw[0]) == canonical_key(draw[1]) != canonical_key(draw[2])


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda n: ones().map_blocks(adder(n)) + 1, "args.image: layer 'add' changed"),
        (lambda n: numbers().map_overlap(adder(n), depth=1), "args.image: layer 'add' changed"),
        (lambda n: numbers() + 1 if n == 1 else numbers() * 2, "args.image: layer 'mul' added"),
        (lambda n: da.from_array(np.full((8, 8), n), chunks=4).sum(), "args.image: layer 'array' changed"),
        (lambda n: da.ones(8, chunks=4 * n), "args.image: layer 'ones_like' changed"),
    ],
)
def test_the_first_layer_that_differs_is_told(make: Any, line: str) -> None:
    first, second = (canonical_key({"args": {"image": make(n)}}) for n in (1, 2))
    (told,) = key_differences(first, second)
    assert told == line or told.startswith(line.partition(" layer")[0])
    if "ones_like" not in line:
        assert told == line


def test_a_graph_without_a_reproducible_form_names_the_argument_the_layer_and_the_cure() -> None:
    match = (
        r"args\.image \(dask\.array.*\) cannot be part of a key: layer 'x' .*persisted on a cluster.*as an item first"
    )
    with pytest.raises(UnkeyableValue, match=match):
        canonical_key({"args": {"image": held_by_a_cluster()}})
    with pytest.raises(UnkeyableValue, match=r"args\.image.*layer 'power'.*seed"):
        canonical_key({"args": {"image": ones().map_blocks(power, object(), dtype=float, meta=np.ones(0))}})


def test_a_file_that_a_task_is_given_by_name_counts_with_size_and_time(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "x.npy"
    np.save(file, PIXELS)

    def forms() -> list[Any]:
        load = dask.delayed(np.load, pure=True)
        return [canonical_key(da.from_delayed(load(name), (64, 64), "u2")) for name in (str(file), file)]

    before = forms()
    assert forms() == before
    os.utime(file, (5, 5))
    assert not any(a == b for a, b in zip(forms(), before, strict=True))


@step
def total(out: CacheDir, image: Any, more: object = None) -> None:
    out.write("total.json", [int(image.sum()), more is None])


def raw(root: CacheDir, value: int = 0) -> CacheDir:
    with cdir_init(root / "raw", {"value": value}) as node:
        if not node.committed:
            node.write("raw.ome.zarr", da.from_array(PIXELS + value, chunks=32), scale=(0.5, 0.25))
    return cdir_query(root / "raw")


def test_an_array_read_from_an_item_stands_for_its_version_wherever_it_lies(
    root: CacheDir, tmp_path: pathlib.Path
) -> None:
    def form(root: CacheDir, value: int = 0) -> Any:
        return canonical_key(raw(root, value).read("raw.ome.zarr")[:32] + 1)

    first = form(root)
    assert form(root) == first
    assert form(cdir(tmp_path / "elsewhere")) == first
    second = form(root, 1)
    assert key_differences({"image": first}, {"image": second}) == ["image: layer 'original-cvcache-image' changed"]
    assert form(root, 0) == first
    image = raw(root).read("raw.ome.zarr")
    assert (
        canonical_key(image)
        != canonical_key(raw(root).read("raw.ome.zarr", slices="[:32]"))
        != canonical_key(image[:32])
    )


def test_a_node_keyed_by_a_lazy_array_knows_what_it_was_made_from(root: CacheDir) -> None:
    image = raw(root).read("raw.ome.zarr")
    made = total(root / "total", image[:10] + 1, [{"again": image}])
    version = cdir_query(root / "raw").version
    assert list(snapshot_of(made).record.inputs) == [{"url": "../raw", "item": "raw.ome.zarr", "version": version}]
    raw(root, 1)
    assert cdir_query(root / "total").state == "stale"


def test_what_is_made_of_a_lazy_array_takes_over_its_scale(root: CacheDir) -> None:
    image = raw(root).read("raw.ome.zarr")
    with cdir_init(root / "made", {"image": image}) as node:
        assert node.write("made.ome.zarr", np.asarray(image) + 1).meta["scale"] == [0.5, 0.25]


def test_a_stored_image_in_a_key_counts_by_what_lies_there(tmp_path: pathlib.Path) -> None:
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(str(tmp_path / "a.zarr"), data=PIXELS, chunks=(32, 32))
    before = canonical_key({"image": open_image(tmp_path / "a.zarr")})
    assert canonical_key({"image": open_image(f"{tmp_path}/a.zarr")}) == before
    assert canonical_key({"image": open_image(tmp_path / "a.zarr", slices="[:5]")}) != before
    array[:32] = 0
    after = canonical_key({"image": open_image(tmp_path / "a.zarr")})
    assert key_differences(before, after) == ["image: layer 'original-cvcache-image' changed"]


@pytest.mark.server
def test_an_image_in_a_bucket_is_in_a_key_without_credentials(s3_case: Any) -> None:
    raw(cdir(s3_case.url, **s3_case.options))
    image = open_image(f"{s3_case.url}/raw/raw.ome.zarr", **s3_case.options)
    form = canonical_key(image)
    assert form == canonical_key(open_image(f"{s3_case.url}/raw/raw.ome.zarr", **s3_case.options))
    assert not [value for value in s3_case.options.values() if isinstance(value, str) and value in dumps(form)]


def labelled(xr: Any, *, scale: float = 0.5, name: str = "raw", fill: int = 0, lazy: bool = True) -> Any:
    pixels = numbers() + fill if lazy else np.asarray(numbers() + fill)
    coords = {"y": np.arange(8) * scale, "stain": ("x", ["dapi", "gfp"] * 4)}
    return xr.DataArray(pixels, dims=["y", "x"], coords=coords, name=name, attrs={"made": "today"})


@pytest.mark.parametrize("lazy", [True, False])
def test_an_xarray_object_counts_by_its_dims_coords_and_data(lazy: bool) -> None:  # noqa: FBT001 - a parameter
    xr = pytest.importorskip("xarray")
    image = labelled(xr, lazy=lazy)
    before = canonical_key({"image": image})
    assert canonical_key({"image": labelled(xr, lazy=lazy).assign_attrs(made="tomorrow")}) == before
    others = [labelled(xr, scale=1, lazy=lazy), labelled(xr, name="x", lazy=lazy), labelled(xr, fill=1, lazy=lazy)]
    others += [image.T, image.to_dataset(), image.variable, image.data, image.drop_vars("stain")]
    assert len({dumps(canonical_key({"image": part})) for part in [image, *others]}) == 9
    (line,) = key_differences(before, canonical_key({"image": others[0]}))
    assert line.startswith("image.coords.y.data: array <f8 [8]")
    (line,) = key_differences(before, canonical_key({"image": others[2]}))
    assert line.startswith("image.data: ")


def test_an_array_made_by_xarray_counts_by_its_function() -> None:
    xr = pytest.importorskip("xarray")

    def apply(exponent: int) -> Any:
        options = {"kwargs": {"exponent": exponent}, "dask": "parallelized", "output_dtypes": [float]}
        return canonical_key({"image": xr.apply_ufunc(power, labelled(xr), vectorize=True, **options)})

    assert apply(2) == apply(2)
    assert key_differences(apply(2), apply(3)) == ["image.data: layer 'vectorize_power' changed"]


def test_the_source_of_an_xarray_object_is_seen(root: CacheDir) -> None:
    xr = pytest.importorskip("xarray")
    image = xr.Dataset({"raw": (["y", "x"], raw(root).read("raw.ome.zarr"))})
    made = total(root / "total", image.raw)
    assert [row["item"] for row in snapshot_of(made).record.inputs] == ["raw.ome.zarr"]
