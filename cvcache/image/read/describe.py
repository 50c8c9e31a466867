"""Metadata of a stored image: OME-Zarr 0.4 and 0.5 and plain zarr, of cvcache or of other programs.

Why it checks so much: the documents are untrusted, and a viewer opens them. A path could lead out of the
item, a chunk shape could ask for terabytes, a codec could run code (``pickle``). So each value is checked before
it is used, and everything that goes wrong becomes `ItemDamaged`, not an exception of json, numpy or zarr. One
function, `build_metadata`, serves images just written and images read, so that both have equal metadata.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cvcache.formats import item_damaged
from cvcache.image.arrays import ZARR_3, ArraySpec, Codec, parse_document
from cvcache.image.pyramid import AXIS_TYPES, default_axes
from cvcache.store import gather

if TYPE_CHECKING:
    import numpy as np

    from cvcache.formats import ItemPath

MAX_DOCUMENT_BYTES = 16 << 20
"""At most so many bytes of a metadata document are read; a longer one does not parse."""
MAX_LEVELS = 64
MAX_CHUNK_BYTES = 2 << 30
MAX_INDEX_BYTES = 256 << 20
MAX_EXTENT = (1 << 63) - 1
MAX_CHUNK_COUNT = 1_000_000
MAX_AXES = 32
MAX_NAME_BYTES = 255
ZARR_3_FIELDS = {"codecs", "data_type", "chunk_grid"}
SAFE_CODECS = {
    *("bytes", "blosc", "zstd", "gzip", "zlib", "lz4", "lzma", "bz2", "crc32c", "crc32", "adler32", "fletcher32"),
    *("sharding_indexed", "transpose", "delta", "shuffle", "bitround", "fixedscaleoffset", "quantize", "packbits"),
    *("astype", "pcodec", "zfpy", "jenkins_lookup3", "cast_value", "scale_offset"),
}
"""Codecs that only convert bytes to numbers; ``pickle`` and the like can run code."""
_COLOR = re.compile("[0-9A-Fa-f]{6}")
Transform = tuple[list[float], list[float]]
"""Scale and translation of one level."""


@dataclass(frozen=True, slots=True)
class StoredLevel:
    """One stored level of an image.

    Attributes
    ----------
    path : str
        Key of its array in the item.
    document : mapping
        The array's metadata document.
    spec : ArraySpec or None
        The parsed document; None if only the zarr library can read the array.
    """

    path: str
    document: Mapping[str, Any]
    spec: ArraySpec | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of each stored axis, in pixels."""
        return tuple(self.document["shape"])

    @property
    def dtype(self) -> np.dtype:
        """Of the stored pixels."""
        found: np.dtype = _dtype(self.document)
        return found

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extent of one chunk, in pixels."""
        return self.spec.chunks if self.spec else _chunks(self.document)

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Extent of one object, if it holds several chunks."""
        return self.spec.shards if self.spec else None


def read_image_metadata(item: ItemPath) -> tuple[dict[str, Any], list[StoredLevel]]:
    """Return the metadata of an image, without number and size of its objects, and its levels.

    Raises
    ------
    ItemDamaged
        There is no image, or its metadata is not valid.
    FileNotFoundError
        Nothing is stored there.

    Notes
    -----
    One GET if the group has consolidated metadata, as cvcache writes it; else one more per level, concurrently. One
    or two more for OME-Zarr 0.4 and for plain zarr.
    """
    try:
        attributes, document_name, inline = _read_group(item)
        multiscale = _multiscale(attributes)
        _check_level_count([""] if multiscale is None else multiscale["datasets"])
        paths = [""] if multiscale is None else [_level_path(row["path"]) for row in multiscale["datasets"]]
        documents = [inline.get(path) for path in paths]
        levels = [
            _parse_level(path, document)
            for path, document in zip(
                paths,
                gather(
                    lambda i: documents[i] or _read_document(item, f"{paths[i]}/{document_name}".lstrip("/")),
                    range(len(paths)),
                    remote=item.remote,
                ),
                strict=True,
            )
        ]
        return build_metadata(attributes, levels), levels
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, ArithmeticError) as error:
        reason = f"no image of OME-Zarr 0.4 or 0.5 or plain zarr: {type(error).__name__} {error}"
        raise item_damaged(item, reason) from error


def _read_group(item: ItemPath) -> tuple[Mapping[str, Any], str, Mapping[str, Mapping[str, Any]]]:
    """Return the attributes of the group, the name of its arrays' documents, and the consolidated ones by path."""
    try:
        document = _read_document(item, "zarr.json")
    except FileNotFoundError:
        return _read_group2(item)
    if document.get("node_type") == "array":
        return document.get("attributes") or {}, "zarr.json", {"": document}
    inline = (document.get("consolidated_metadata") or {}).get("metadata") or {}
    return document.get("attributes") or {}, "zarr.json", inline


def _read_group2(item: ItemPath) -> tuple[Mapping[str, Any], str, Mapping[str, Mapping[str, Any]]]:
    try:
        attributes = _read_document(item, ".zattrs")
        if _multiscale(attributes) is not None:
            return attributes, ".zarray", {}
    except FileNotFoundError:
        pass
    try:
        return {}, ".zarray", {"": _read_document(item, ".zarray")}
    except FileNotFoundError:
        if item.find():
            raise item_damaged(item, "there is none of zarr.json, .zattrs and .zarray") from None
        raise


def _read_document(item: ItemPath, key: str) -> Mapping[str, Any]:
    try:
        document = json.loads(item.get(key, 0, MAX_DOCUMENT_BYTES))
    except FileNotFoundError:
        if "/" in key:
            raise item_damaged(item, f"its {key} is missing") from None
        raise
    if not isinstance(document, dict):
        raise TypeError(f"{key} is no JSON object")
    return document


def _multiscale(attributes: Mapping[str, Any]) -> Mapping[str, Any] | None:
    ome = attributes.get("ome", attributes)
    multiscales = ome.get("multiscales")
    if multiscales is None and "ome" not in attributes:
        return None
    multiscale: Mapping[str, Any] = multiscales[0]
    return multiscale


def _check_level_count(paths: Sequence[object]) -> None:
    if not 0 < len(paths) <= MAX_LEVELS:
        raise ValueError(f"{len(paths)} levels; an image has 1 to {MAX_LEVELS}")


def _level_path(path: object) -> str:
    """Return the path of a level after checking that it is inside the item."""
    parts = path.split("/") if isinstance(path, str) else [""]
    joined = "/".join(parts)
    is_bad = len(joined.encode()) > MAX_NAME_BYTES or re.search(r"[\x00-\x1f\\:*?\[\]]", joined)
    if is_bad or any(part in {"", ".", ".."} for part in parts):
        raise ValueError(f"a level at {str(path)[:80]!r}, which is no place in the image")
    return "/".join(parts)


def _parse_level(path: str, document: Mapping[str, Any]) -> StoredLevel:
    if document.keys() & ZARR_3_FIELDS != (ZARR_3_FIELDS if document["zarr_format"] == ZARR_3 else set()):
        raise ValueError("an array that is neither of zarr 2 nor of zarr 3")
    _check_codecs(document)
    shape, chunks = _extents(document["shape"]), _chunks(document)
    if len(shape) != len(chunks) or len(shape) > MAX_AXES:
        raise ValueError(f"shape {shape} with chunks {list(chunks)}")
    spec = parse_document(document, path)
    decoded = spec.chunks if spec else chunks
    if 0 in decoded or math.prod(decoded) * _dtype(document).itemsize > MAX_CHUNK_BYTES:
        raise ValueError(f"chunks of {list(decoded)} pixels, more than {MAX_CHUNK_BYTES >> 30} GiB or none at all")
    if spec and (0 in spec.object_shape or spec.shard_index_bytes > MAX_INDEX_BYTES):
        raise ValueError(f"shards of {list(spec.object_shape)} pixels with chunks of {list(spec.chunks)}")
    return StoredLevel(path, document, spec)


def _check_codecs(document: Mapping[str, Any]) -> None:
    """Raise unless all codecs are safe and the pixels are numbers."""
    for name in _codec_names(document):
        if name.removeprefix("numcodecs.") not in SAFE_CODECS:
            raise ValueError(f"a codec {name[:80]!r}, which is not one for numbers")
    if _dtype(document).kind not in "biufc":
        raise ValueError(f"pixels of type {_dtype(document)}")


def _codec_names(document: Mapping[str, Any]) -> list[str]:
    if "codecs" not in document:
        parts = [document.get("compressor"), *(document.get("filters") or ())]
        return [str(part["id"]) for part in parts if part]
    names: list[str] = []
    pending = list(document["codecs"])
    while pending:
        codec = pending.pop()
        names.append(codec if isinstance(codec, str) else str(codec["name"]))
        configuration = {} if isinstance(codec, str) else codec.get("configuration") or {}
        pending += [*configuration.get("codecs", ()), *configuration.get("index_codecs", ())]
        if len(names) > MAX_AXES:
            raise ValueError("a chain of too many codecs")
    return names


def build_metadata(attributes: Mapping[str, Any], levels: Sequence[StoredLevel]) -> dict[str, Any]:
    """Return the metadata of an image from its group's attributes and its levels."""
    cvcache = attributes.get("cvcache") or {}
    ome = attributes.get("ome", attributes)
    multiscale = _multiscale(attributes) or {"datasets": [{"path": ""}]}
    shape = levels[0].shape
    if any(len(level.shape) != len(shape) for level in levels):
        raise ValueError(f"levels of different ranks: {[level.shape for level in levels]}")
    added = [int(i) for i in cvcache.get("added", ())]
    names, units = _axes(multiscale, levels[0])
    transforms = [_scale_and_translation(multiscale, row, len(shape)) for row in multiscale["datasets"]]
    _check_cvcache_attributes(cvcache, levels[0])
    visible = [i for i in range(len(shape)) if i not in added]
    return {
        "kind": _kind(ome),
        "shape": _pick(shape, visible),
        "dtype": cvcache.get("dtype") or str(levels[0].dtype.newbyteorder("=")),
        "axes": _pick(names, visible),
        "scale": _pick(transforms[0][0], visible),
        "translation": _pick(transforms[0][1], visible),
        "unit": units,
        **_levels_metadata(levels, transforms),
        "stored_as": cvcache.get("stored_as", "dask"),
        "added": added,
        "complete": "stored_as" in cvcache,
        **_encoding_metadata(cvcache, levels),
        **_channel_metadata(ome.get("omero") or {}),
    }


def _kind(ome: Mapping[str, Any]) -> str:
    return "labels" if "image-label" in ome else "image" if "multiscales" in ome else "array"


def _pick(values: Sequence[Any], indices: Sequence[int]) -> list[Any]:
    return [values[i] for i in indices]


def _levels_metadata(levels: Sequence[StoredLevel], transforms: Sequence[Transform]) -> dict[str, Any]:
    return {
        "levels": len(levels),
        "shapes": [list(level.shape) for level in levels],
        "scales": [scale for scale, _ in transforms],
        "translations": [translation for _, translation in transforms],
        "chunks": [list(level.chunks) for level in levels],
        "paths": [level.path for level in levels],
    }


def _check_cvcache_attributes(cvcache: Mapping[str, Any], level: StoredLevel) -> None:
    """Raise if cvcache cannot have written these attributes for an image with this level 0."""
    shape, stored_dtype = level.shape, level.dtype.newbyteorder("=")
    dtype, added = cvcache.get("dtype", stored_dtype), cvcache.get("added", ())
    fits = (
        _dtype({"dtype": dtype}).newbyteorder("=") == stored_dtype or (dtype == "bool" and stored_dtype == "uint8"),
        all(0 <= i < len(shape) and shape[i] == 1 for i in added),
        _chunks_fit(cvcache.get("source_chunks", ()), [n for i, n in enumerate(shape) if i not in added]),
        cvcache.get("stored_as", "dask") in ("numpy", "dask"),
    )
    if not all(fits):
        raise ValueError("attributes of cvcache's own that do not fit the image")


def _chunks_fit(packed: Sequence[Any], shape: list[int]) -> bool:
    """Whether `packed` is a result of `pack_chunks` for an array of this shape, or empty."""
    runs = _extents([number for axis in packed for run in axis for number in run])
    extents = [sum(extent * count for extent, count in axis) for axis in packed]
    return not packed or (extents == shape and sum(runs[1::2]) < MAX_CHUNK_COUNT)


def planned_metadata(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of an image that is being written, from its recorded plan; missing chunks are empty."""
    levels = [_parse_level(path, document) for path, document in plan["arrays"].items()]
    return {**build_metadata(plan["attributes"], levels), "complete": False, "planned": True}


def _axes(multiscale: Mapping[str, Any], level: StoredLevel) -> tuple[Sequence[str], dict[str, str]]:
    """Return the names of the stored axes, and name -> unit."""
    rows, ndim = multiscale.get("axes"), len(level.shape)
    if not rows:
        return _dimension_names(level.document, ndim), {}
    axes = [row if isinstance(row, Mapping) else {"name": row} for row in rows]
    names, units = [axis["name"] for axis in axes], [axis.get("unit") or "" for axis in axes]
    if not len(axes) == len(set(map(str, names))) == ndim:
        raise ValueError(f"{len(axes)} axes for {ndim} dimensions, or one of them twice")
    if not all(isinstance(text, str) for text in (*names, *units)):
        raise TypeError("axes whose names or units are no text")
    return names, {name: unit for name, unit in zip(names, units, strict=True) if unit}


def _dimension_names(document: Mapping[str, Any], ndim: int) -> Sequence[str]:
    """Return the names of an array's dimensions if all are axes of OME-Zarr, else names by its rank."""
    names = list(document.get("dimension_names") or ())
    if len(names) == len(set(names) & AXIS_TYPES.keys()) == ndim:
        return names
    return default_axes(ndim) if 0 < ndim <= len(AXIS_TYPES) else [f"dim_{i}" for i in range(ndim)]


def _encoding_metadata(cvcache: Mapping[str, Any], levels: Sequence[StoredLevel]) -> dict[str, Any]:
    """Return shards, the encoding that all levels of a complete image share, source chunks and layer, if known."""
    metadata: dict[str, Any] = {}
    if any(level.shards for level in levels):
        metadata["shards"] = [list(level.shards or ()) for level in levels]
    if "stored_as" in cvcache and (spec := levels[0].spec) is not None:
        metadata["stored"] = {
            "zarr_format": spec.zarr_format,
            "dtype": spec.dtype,
            "compressor": {"name": spec.codec.name, "configuration": dict(spec.codec.options)},
            "checksum": spec.checksum,
        }
    return metadata | {name: cvcache[name] for name in ("source_chunks", "layer") if name in cvcache}


def recorded_spec(meta: Mapping[str, Any], level: int) -> ArraySpec | None:
    """Return the spec of one level from recorded metadata; None if its document must be read."""
    encoding = meta.get("stored")
    if not encoding:
        return None
    compressor = encoding["compressor"]
    shards = meta.get("shards")
    return ArraySpec(
        path=meta["paths"][level],
        shape=tuple(meta["shapes"][level]),
        chunks=tuple(meta["chunks"][level]),
        shards=tuple(shards[level]) or None if shards else None,
        dtype=encoding["dtype"],
        codec=Codec(compressor["name"], tuple(sorted(compressor["configuration"].items()))),
        checksum=encoding["checksum"],
        zarr_format=encoding["zarr_format"],
        prefix="c/" if encoding["zarr_format"] == ZARR_3 else "",
    )


def _scale_and_translation(multiscale: Mapping[str, Any], dataset: Mapping[str, Any], ndim: int) -> Transform:
    """Return scale and translation of one level; transformations of the multiscale are applied last."""
    scale, translation = [1.0] * ndim, [0.0] * ndim
    for owner in (dataset, multiscale):
        for step in owner.get("coordinateTransformations") or ():
            if (values := step.get("scale")) is not None:
                scale = [a * float(b) for a, b in zip(scale, values, strict=True)]
                translation = [a * float(b) for a, b in zip(translation, values, strict=True)]
            elif (values := step.get("translation")) is not None:
                translation = [a + float(b) for a, b in zip(translation, values, strict=True)]
    if not all(map(math.isfinite, (*scale, *translation))):
        raise ValueError(f"scale {scale} and translation {translation}")
    return scale, translation


def _dtype(document: Mapping[str, Any]) -> Any:
    import numpy as np

    name = document["data_type"] if "data_type" in document else document["dtype"]
    if name is None:  # for numpy this is float64
        raise TypeError("pixels of no type")
    if isinstance(name, str) and name.lstrip("<>|=")[:1] == "a":  # deprecated alias of bytes; numpy warns
        raise TypeError(f"pixels of type {name!r}")
    return np.dtype(name)


def _chunks(document: Mapping[str, Any]) -> tuple[int, ...]:
    grid = document.get("chunk_grid")
    return _extents(grid["configuration"]["chunk_shape"] if grid else document["chunks"])


def _extents(values: Sequence[object]) -> tuple[int, ...]:
    """Return `values` as a tuple after checking that they are integers and not negative."""
    extents = tuple(n for n in values if isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= MAX_EXTENT)
    if len(extents) != len(values):
        raise ValueError(f"extents {str(values)[:80]}")
    return extents


def _channel_metadata(omero: Mapping[str, Any]) -> dict[str, Any]:
    """Return names, limits and colours, each only if all channels have one, and which are active unless all are."""
    rows = list(omero.get("channels", []))
    labels = [row["label"] for row in rows] if all("label" in row for row in rows) else []
    windows = [row.get("window", {}) for row in rows]
    limits = [[window.get("start"), window.get("end")] for window in windows]
    colors = [row.get("color") for row in rows]
    active = [row.get("active") is not False for row in rows]
    columns = {
        "channels": labels,
        "contrast": limits if all(map(_is_finite, itertools.chain(*limits))) else [],
        "colors": colors if all(map(_is_color, colors)) else [],
        "active": [] if all(active) else active,
    }
    return {name: values for name, values in columns.items() if values}


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _is_color(value: object) -> bool:
    return isinstance(value, str) and _COLOR.fullmatch(value) is not None


def cvcache_attributes(array: Any, added: Sequence[int]) -> dict[str, Any]:
    """Return the attributes ``cvcache`` of a group: what reading needs and OME-Zarr does not define."""
    chunks = getattr(array, "chunks", None)
    return {
        "stored_as": "numpy" if chunks is None else "dask",
        "dtype": str(array.dtype),
        "added": list(added),
        **({} if chunks is None else {"source_chunks": pack_chunks(chunks)}),
    }


def pack_chunks(chunks: Sequence[Sequence[int]]) -> list[list[list[int]]]:
    """Return dask's chunks run-length encoded: per axis a list of [extent, count]."""
    return [[[int(extent), len(list(run))] for extent, run in itertools.groupby(axis)] for axis in chunks]


def unpack_chunks(packed: Sequence[Sequence[Sequence[int]]]) -> tuple[tuple[int, ...], ...]:
    """Return dask's chunks from the result of `pack_chunks`."""
    return tuple(tuple(extent for extent, count in axis for _ in range(count)) for axis in packed)
