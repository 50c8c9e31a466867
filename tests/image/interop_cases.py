"""What other libraries make of our images and what we make of theirs, one process per interpreter; no pytest here.

``python interop_cases.py read FOLDER`` looks at the images in a folder with everything this interpreter has
installed, ``python interop_cases.py write FOLDER`` fills one; both print a table as JSON. Beside each image
``NAME.ome.zarr`` lies ``NAME.npz`` with the pixels of its levels, and ``NAME.json`` with scales, axes and units.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

OK = "ok"
MISSING = "not installed"
LONGEST = 70


def pixels_of(image: Path) -> list[np.ndarray]:
    """Return the pixels each level is to have."""
    with np.load(image.with_name(image.name.replace(".ome.zarr", ".npz"))) as file:
        return [file[name] for name in sorted(file.files, key=lambda name: int(name[4:]))]


def facts_of(image: Path) -> dict[str, Any]:
    """Return version, axes, units and scales the image is to have."""
    facts: dict[str, Any] = json.loads(image.with_name(image.name.replace(".ome.zarr", ".json")).read_text())
    return facts


def keep(folder: Path, name: str, levels: list[Any], **facts: Any) -> None:
    """Put down what an image is to hold."""
    np.savez(folder / f"{name}.npz", *[np.asarray(level) for level in levels])
    (folder / f"{name}.json").write_text(json.dumps(facts))


def same(found: Any, expected: np.ndarray, what: str) -> None:
    """Complain of other pixels; axes of one pixel that a reader adds or drops do not count."""
    found = np.asarray(found)
    if np.squeeze(found).shape != np.squeeze(expected).shape:
        raise AssertionError(f"{what} has shape {found.shape} instead of {expected.shape}")
    if found.dtype.newbyteorder("=") != expected.dtype.newbyteorder("="):
        raise AssertionError(f"{what} has type {found.dtype} instead of {expected.dtype}")
    if not np.array_equal(np.squeeze(found), np.squeeze(expected)):
        raise AssertionError(f"{what} has other pixels")


def equal(found: Any, expected: Any, what: str) -> None:
    """Complain of another value."""
    if found != expected:
        raise AssertionError(f"{what} is {found} instead of {expected}")


def _ome_zarr_models(image: Path) -> None:
    import ome_zarr_models

    with warnings.catch_warnings(action="error", category=ome_zarr_models.exceptions.ValidationWarning):
        model = ome_zarr_models.open_ome_zarr(str(image), version=facts_of(image)["version"])
    if type(model).__name__ not in {"Image", "ImageLabel"}:
        raise AssertionError(f"it takes it for a {type(model).__name__}")
    scales = [list(row.coordinateTransformations[0].scale) for row in _ome(model).multiscales[0].datasets]
    equal(scales, facts_of(image)["scales"], "scale")


def _ome(model: Any) -> Any:
    attributes = model.attributes
    return getattr(attributes, "ome", attributes)


def _yaozarrs(image: Path) -> None:
    import yaozarrs

    yaozarrs.validate_zarr_store(str(image))


def _zarr(image: Path) -> None:
    import zarr

    group = zarr.open_group(str(image), mode="r")
    levels = pixels_of(image)
    equal(sorted(group.array_keys()), [str(n) for n in range(len(levels))], "the list of arrays")
    for n, level in enumerate(levels):
        same(group[str(n)][...], level, f"level {n}")  # type: ignore[index]


def _tensorstore(image: Path) -> None:
    import tensorstore

    driver = "zarr3" if facts_of(image)["version"] == "0.5" else "zarr"
    for n, level in enumerate(pixels_of(image)):
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{image}/{n}/"}}
        array = tensorstore.open(spec, open=True, read=True).result()
        same(array.read().result(), level, f"level {n}")
        if driver == "zarr3":
            equal(list(array.domain.labels), facts_of(image)["axes"], "axes")


def _ngff_zarr(image: Path) -> None:
    import ngff_zarr

    facts = facts_of(image)
    found = ngff_zarr.from_ngff_zarr(str(image), validate=installed("jsonschema"), version=facts["version"])
    equal(len(found.images), len(facts["scales"]), "the number of levels")
    for n, (one, level) in enumerate(zip(found.images, pixels_of(image), strict=True)):
        equal(list(one.dims), facts["axes"], "axes")
        same(one.data, level, f"level {n}")
        equal([float(one.scale[axis]) for axis in one.dims], facts["scales"][n], f"scale of level {n}")
        equal([float(one.translation[axis]) for axis in one.dims], facts["translations"][n], f"position of level {n}")
        units = {axis: str(unit) for axis, unit in (one.axes_units or {}).items() if unit}
        equal(units, facts["unit"], "unit")


def _bioio(image: Path) -> None:
    from bioio_ome_zarr import Reader

    facts, reader = facts_of(image), Reader(str(image))
    levels = pixels_of(image)
    equal(len(reader.resolution_levels), len(levels), "the number of levels")
    for n, level in enumerate(levels):
        reader.set_resolution_level(n)
        same(reader.data, level, f"level {n}")
        sizes = [getattr(reader.scale, axis.upper()) for axis in facts["axes"] if axis in "zyx"]
        wanted = [scale for axis, scale in zip(facts["axes"], facts["scales"][n], strict=True) if axis in "zyx"]
        equal(sizes, wanted, f"scale of level {n}")
    if "channels" in facts:
        equal(list(reader.channel_names), facts["channels"], "the list of channels")


def _ome_zarr(image: Path) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    location = parse_url(str(image), mode="r")
    if location is None:
        raise AssertionError("it sees no OME-Zarr there")
    node, facts = next(iter(Reader(location)())), facts_of(image)
    levels = pixels_of(image)
    equal(len(node.data), len(levels), "the number of levels")
    for n, level in enumerate(levels):
        same(node.data[n], level, f"level {n}")
    transforms = node.metadata["coordinateTransformations"]
    equal([list(map(float, row[0]["scale"])) for row in transforms], facts["scales"], "scale")
    equal([axis["name"] for axis in node.metadata["axes"]], facts["axes"], "axes")


READERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "ome-zarr-models": ("ome_zarr_models", _ome_zarr_models),
    "yaozarrs": ("yaozarrs", _yaozarrs),
    "zarr-python": ("zarr", _zarr),
    "tensorstore": ("tensorstore", _tensorstore),
    "ngff-zarr": ("ngff_zarr", _ngff_zarr),
    "bioio-ome-zarr": ("bioio_ome_zarr", _bioio),
    "ome-zarr-py": ("ome_zarr", _ome_zarr),
}

PIXELS = np.random.default_rng(0).integers(0, 4000, (2, 6, 40, 50)).astype("uint16")


def _zarr_array(image: Path, version: str, pixels: np.ndarray, **options: Any) -> None:
    """Write a multiscale of one level by hand, its array as zarr-python writes it."""
    import zarr

    old = version == "0.4"
    group = zarr.open_group(str(image), mode="w", zarr_format=2 if old else 3)
    if not old:
        options["dimension_names"] = list("czyx")
    array = group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, **{"chunks": (1, 4, 16, 16), **options})
    array[...] = pixels
    types = {"c": "channel", "z": "space", "y": "space", "x": "space"}
    axes = [{"name": name, "type": types[name], **({"unit": "micrometer"} if name != "c" else {})} for name in "czyx"]
    transforms = [{"type": "scale", "scale": [1, 2, 0.5, 0.5]}]
    multiscale = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": transforms}]}
    ome: dict[str, Any] = {"multiscales": [{**multiscale, **({"version": version} if old else {})}]}
    group.attrs.update(ome if old else {"ome": {"version": version, **ome}})
    keep(
        image.parent,
        image.name.removesuffix(".ome.zarr"),
        [pixels],
        axes=list("czyx"),
        scales=[[1, 2, 0.5, 0.5]],
        unit=dict.fromkeys("zyx", "micrometer"),
    )


def _zarr_2(folder: Path) -> None:
    import numcodecs

    def write(name: str, pixels: np.ndarray, **options: Any) -> None:
        _zarr_array(folder / f"zarr-python: v2 {name}.ome.zarr", "0.4", pixels, **options)

    write("default", PIXELS)
    write("F order", PIXELS, order="F")
    write("big endian", PIXELS.astype(">u2"))
    write("delta filter", PIXELS, filters=[numcodecs.Delta("<u2")])
    write("lz4", PIXELS, compressors=numcodecs.LZ4())
    write("zlib, dots", PIXELS, compressors=numcodecs.Zlib(), chunk_key_encoding={"name": "v2", "separator": "."})
    write("blosc bitshuffle", PIXELS, compressors=numcodecs.Blosc("lz4hc", 5, numcodecs.Blosc.BITSHUFFLE))
    write("no codec, float64", PIXELS.astype("float64") / 3, compressors=None)


def _zarr_3(folder: Path) -> None:
    import zarr
    from zarr import codecs

    def write(name: str, pixels: np.ndarray, **options: Any) -> None:
        _zarr_array(folder / f"zarr-python: v3 {name}.ome.zarr", "0.5", pixels, **options)

    write("default", PIXELS)
    write("F order", PIXELS, filters=[codecs.TransposeCodec(order=(3, 2, 1, 0))])
    write("big endian", PIXELS, serializer=codecs.BytesCodec(endian="big"))
    write("gzip, complex64", PIXELS.astype("complex64"), compressors=codecs.GzipCodec())
    write("blosc", PIXELS, compressors=codecs.BloscCodec(cname="zstd", shuffle="bitshuffle"))
    write("v2 keys", PIXELS, chunk_key_encoding={"name": "v2", "separator": "."})
    write("sharded", PIXELS, shards=(1, 8, 32, 32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(
            "sharded, index at start",
            PIXELS,
            shards=zarr.core.array.ShardsConfigParam(shape=(1, 8, 32, 32), index_location="start"),
        )


def _tensorstore_writes(folder: Path) -> None:
    import tensorstore

    name = "tensorstore: zarr3 sharded, index at start"
    inside = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd", "configuration": {"level": 3}}]
    sharding = {
        "chunk_shape": [1, 4, 16, 16],
        "codecs": inside,
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "index_location": "start",
    }
    for label, codecs, driver in (
        ("zarr3 sharded, index at start", [{"name": "sharding_indexed", "configuration": sharding}], "zarr3"),
        ("zarr3", inside, "zarr3"),
        ("zarr2", None, "zarr"),
    ):
        name = f"tensorstore: {label}"
        image = folder / f"{name}.ome.zarr"
        _zarr_array(image, "0.4" if driver == "zarr" else "0.5", PIXELS)
        metadata: dict[str, Any] = {"shape": list(PIXELS.shape), "chunks": [1, 4, 16, 16], "dtype": "<u2"}
        metadata = {**metadata, "dimension_separator": "/", "compressor": {"id": "blosc"}}
        if codecs is not None:
            grid = {"name": "regular", "configuration": {"chunk_shape": [1, 8, 32, 32]}}
            metadata = {"shape": list(PIXELS.shape), "chunk_grid": grid, "data_type": "uint16", "codecs": codecs}
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{image}/0/"}, "metadata": metadata}
        tensorstore.open(spec, create=True, delete_existing=True).result().write(PIXELS).result()


def _ngff_zarr_writes(folder: Path) -> None:
    import ngff_zarr

    for version, options in (("0.4", {}), ("0.5", {}), ("0.5 sharded", {"chunks_per_shard": 2})):
        name = f"ngff-zarr: {version}"
        scale = {"c": 1.0, "z": 2.0, "y": 0.5, "x": 0.5}
        units = dict.fromkeys("zyx", "micrometer")
        one = ngff_zarr.to_ngff_image(PIXELS, dims=list("czyx"), scale=scale, axes_units=units)
        chunks = {"c": 1, "z": 4, "y": 16, "x": 16}
        found = ngff_zarr.to_multiscales(one, scale_factors=[2], chunks=chunks)
        store = folder / f"{name}.ome.zarr"
        ngff_zarr.to_ngff_zarr(str(store), found, version=version[:3], **options)
        again = ngff_zarr.from_ngff_zarr(str(store)).images
        scales = [[float(level.scale[axis]) for axis in "czyx"] for level in again]
        keep(folder, name, [level.data for level in again], axes=list("czyx"), scales=scales, unit=units)


def _bioio_writes(folder: Path) -> None:
    from bioio_ome_zarr.writers import OMEZarrWriter

    for version, options in (("0.4", {}), ("0.5", {}), ("0.5 sharded", {"shard_shape": (1, 8, 32, 32)})):
        name = f"bioio-ome-zarr: {version}"
        writer = OMEZarrWriter(
            str(folder / f"{name}.ome.zarr"),
            PIXELS.shape,
            "uint16",
            chunk_shape=(1, 4, 16, 16),
            zarr_format=2 if version == "0.4" else 3,
            axes_names=list("czyx"),
            axes_types=["channel", "space", "space", "space"],
            axes_units=[None, "micrometer", "micrometer", "micrometer"],
            physical_pixel_size=[1.0, 2.0, 0.5, 0.5],
            **options,
        )
        writer.write_full_volume(PIXELS)
        writer.close()
        units = dict.fromkeys("zyx", "micrometer")
        keep(folder, name, [PIXELS], axes=list("czyx"), scales=[[1.0, 2.0, 0.5, 0.5]], unit=units)


def _ome_zarr_writes(folder: Path) -> None:
    import zarr
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.writer import write_image

    for version, format_ in (("0.4", FormatV04()), ("0.5", FormatV05()), ("0.5 sharded", FormatV05())):
        name = f"ome-zarr-py: {version}"
        options: dict[str, Any] = {"chunks": (1, 4, 16, 16)}
        if "sharded" in version:
            options["shards"] = (1, 8, 32, 32)
        store = folder / f"{name}.ome.zarr"
        group = zarr.open_group(str(store), mode="w", zarr_format=2 if version == "0.4" else 3)
        write_image(PIXELS, group, axes="czyx", fmt=format_, storage_options=options)
        attributes = dict(group.attrs)
        (multiscale,) = attributes.get("ome", attributes)["multiscales"]  # type: ignore[union-attr,index]
        rows = multiscale["datasets"]
        scales = [list(map(float, row["coordinateTransformations"][0]["scale"])) for row in rows]
        levels = [zarr.open_array(str(store / row["path"]), mode="r")[...] for row in rows]
        keep(folder, name, levels, axes=list("czyx"), scales=scales, unit={})


WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "zarr-python, v2": ("zarr", _zarr_2),
    "zarr-python, v3": ("zarr", _zarr_3),
    "tensorstore": ("tensorstore", _tensorstore_writes),
    "ngff-zarr": ("ngff_zarr", _ngff_zarr_writes),
    "bioio-ome-zarr": ("bioio_ome_zarr", _bioio_writes),
    "ome-zarr-py": ("ome_zarr", _ome_zarr_writes),
}


def attempt(function: Callable[[Path], None], path: Path) -> str:
    """Return "ok", or why not."""
    try:
        function(path)
    except Exception as error:  # noqa: BLE001 - whatever it says is the cell of the table
        text = " ".join(f"{type(error).__name__}: {error}".split()).removeprefix("AssertionError: ")
        text = text.replace(str(path), path.name).replace("|", "/")
        return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
    return OK


def installed(module: str) -> bool:
    """Whether this interpreter can import a package."""
    return importlib.util.find_spec(module) is not None


def read_all(folder: Path) -> dict[str, dict[str, str]]:
    """Return, for each reader and each image, what came of it."""
    images = sorted(folder.glob("*.ome.zarr"))
    return {
        reader: {image.name: attempt(look, image) if installed(module) else MISSING for image in images}
        for reader, (module, look) in READERS.items()
    }


def write_all(folder: Path) -> dict[str, str]:
    """Return, for each library, what came of its writing."""
    return {
        writer: attempt(write, folder) if installed(module) else MISSING for writer, (module, write) in WRITERS.items()
    }


def versions(_: Path) -> dict[str, str]:
    """Return which of the libraries are here."""
    names = {"ome_zarr": "ome-zarr", "zarr": "zarr"}
    modules = {module for module, _ in READERS.values() if installed(module)}
    return {names.get(module, module.replace("_", "-")): importlib.metadata.version(module) for module in modules}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    verb, where = sys.argv[1:]
    sys.stdout.write(json.dumps({"read": read_all, "write": write_all, "versions": versions}[verb](Path(where))))
