"""Layers of items that are read as a whole: points, tables with coordinates or labels, small arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cvcache.browse.layer_data.images import PLANE_NDIM, RGB, LayerData, image_layers, layer_metadata
from cvcache.browse.layer_data.settings import geometry, safe_label, saved_settings
from cvcache.browse.locate import Subject, locate_item
from cvcache.errors import UsageError
from cvcache.formats import find_format
from cvcache.image import image_geometry
from cvcache.node import item_io, read_snapshot

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


MAX_ROWS = 1_000_000
MAX_BYTES = 256 << 20
MAX_UPSTREAM_NODES = 16
"""Nodes in the key of a table that are read."""
MAX_ARRAYS = 32
MAX_FEATURES = 256
SPACE = "zyx"
LABEL_COLUMNS = ("label", "label_id", "index")
NUMBERS = "iuf"
GRAY_ALPHA = 2


def points_layers(subject: Subject) -> list[LayerData]:
    """Return the layer of a points item, with the other columns as features; reads the item, one GET."""
    meta = subject.item.meta
    if "coordinates" not in meta:
        meta = {**meta, **find_format(subject.name).describe(subject.item)}
    frame = _read_frame(subject, meta)
    if "coordinates" not in meta:
        return _coordinates(subject, frame, None)
    columns = list(meta["coordinates"])
    if meta.get("array"):
        frame = frame.set_axis(columns, axis=1)
    placement = {name: meta[name] for name in ("axes", "scale", "translation", "unit")}
    return [_points(subject, frame, columns, placement)]


def table_layers(subject: Subject) -> list[LayerData]:
    """Return points for a table with coordinates, and the labels in its node's key that its rows describe.

    Empty for any other table.

    Notes
    -----
    One GET of the table, and if it has such columns one LIST and one GET for each node in its node's key.
    """
    names = subject.item.meta.get("columns")
    if isinstance(names, list) and not _coordinate_columns(names) and not set(LABEL_COLUMNS) & set(map(str, names)):
        return []
    frame = _read_frame(subject, subject.item.meta)
    upstream = list(_upstream_images(subject))
    found = _coordinates(subject, frame, upstream)
    return [*_labels_with_features(subject, frame, upstream, visible=not found), *found]


def array_layers(subject: Subject) -> list[LayerData]:
    """Return image layers of numeric arrays of two or more axes in a small file; one GET."""
    meta = subject.item.meta
    if not (meta.get("shape") or meta.get("arrays")):
        meta = find_format(subject.name).describe(subject.item)
    kind = meta.get("kind")
    rows = meta.get("arrays", {"": meta})
    if not all("shape" in row for row in rows.values()):  # the number of pixels is unknown
        msg = f"{subject.item.url} is too large to show; open it with another program, or write it as .ome.zarr"
        raise UsageError(msg)
    wanted = [name for name, row in rows.items() if len(row["shape"]) >= PLANE_NDIM][:MAX_ARRAYS]
    if not wanted:
        return []
    _check_bytes(subject, meta, sum(_bytes_of(row) for row in rows.values()))
    value = _read_value(subject)
    arrays = value if isinstance(value, Mapping) else {"": value}
    found = [_array_layer(subject, arrays[name], name, kind) for name in wanted if hasattr(arrays.get(name), "dtype")]
    return [layer for layer in found if layer is not None]


def _read_value(subject: Subject) -> Any:
    """Return the value of an item or file, as its format reads it."""
    if subject.node is not None:
        return item_io.read_item(subject.node, subject.name, {})
    return find_format(subject.name).read(subject.item)


def _bytes_of(row: Mapping[str, Any]) -> int:
    import numpy as np

    size: int = math.prod(row["shape"]) * np.dtype(row["dtype"]).itemsize
    return size


def _check_bytes(subject: Subject, meta: Mapping[str, Any], size: int) -> None:
    """Raise for an item that is too large to be read as a whole."""
    stored = meta.get("size", meta.get("bytes"))
    size = max(size, stored if isinstance(stored, int) else 0)
    if size > MAX_BYTES:
        msg = f"{subject.item.url} has {size:,} bytes and is read whole, which is done up to {MAX_BYTES:,}; write it"
        raise UsageError(f"{msg} as .ome.zarr or .zarr to look at parts of it, or read it in a script")


def _read_frame(subject: Subject, meta: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table or array of points as a DataFrame; raise if it has too many rows for a viewer."""
    _check_bytes(subject, meta, 0)
    if "rows" not in meta:
        meta = find_format(subject.name).describe(subject.item)
    rows = meta.get("rows")
    if isinstance(rows, int) and rows > MAX_ROWS:
        msg = f"{subject.item.url} has {rows:,} rows, and a viewer is given {MAX_ROWS:,} at most; read it in a script"
        raise UsageError(f"{msg} and show a part of it")
    import pandas as pd

    value = _read_value(subject)
    if hasattr(value, "to_pandas"):
        value = value.to_pandas()
    return value if isinstance(value, pd.DataFrame) else pd.DataFrame(value)


def _coordinate_columns(names: list[Any]) -> tuple[str, list[Any]] | None:
    """Return axes and columns of a table's coordinates: z, y and x, or numbered columns; None if it has none."""
    letters = [axis for axis in "tzyx" if names.count(axis) == 1]
    if {"y", "x"} <= set(letters):
        return "".join(letters), letters
    for stem in ("centroid-", "axis-"):
        numbered = sorted(name for name in names if isinstance(name, str) and name.startswith(stem))
        if len(numbered) >= PLANE_NDIM and numbered == [f"{stem}{i}" for i in range(len(numbered))]:
            return "", numbered
    return None


def _coordinates(
    subject: Subject, frame: pd.DataFrame, upstream: Sequence[tuple[Subject, bool]] | None
) -> list[LayerData]:
    """Return the points of a table that has columns of coordinates."""
    found = _coordinate_columns(frame.columns.tolist())
    if found is None or any(frame[column].dtype.kind not in NUMBERS for column in found[1]):
        return []
    axes, columns = found
    count, images = len(columns), [image.item.meta for image, _ in upstream or ()]
    candidates = ((meta, part) for part in (False, True) for meta in images)
    placement = next((item for meta, part in candidates if (item := _placement_in(meta, axes, count, part=part))), None)
    if placement is None:
        axes = axes or ("tzyx"[-count:] if count <= len("tzyx") else "")
        names = list(axes) or [f"axis {i}" for i in range(count)]
        placement = {"axes": names, "scale": [1.0] * count, "translation": [0.0] * count, "unit": {}}
    return [_points(subject, frame, columns, placement)]


def _placement_in(meta: Mapping[str, Any], axes: str, count: int, *, part: bool) -> dict[str, Any] | None:
    """Return axes, scale and translation of coordinates in an image; None if the image has other axes.

    With `part` coordinates of a projection along the first axes are accepted too.
    """
    if "scales" not in meta:
        return None
    image = image_geometry(meta)
    has = [axis for axis in image["axes"] if axis != "c"]
    if axes:
        wanted = list(axes) if set(axes) <= set(has) else None
    else:
        space = [axis for axis in has if axis in SPACE]
        wanted = has if len(has) == count else space if len(space) == count else None
        wanted = space[-count:] if wanted is None and part and len(space) > count else wanted
    if wanted is None:
        return None
    at = [image["axes"].index(axis) for axis in wanted]
    picked = {name: [image[name][i] for i in at] for name in ("scale", "translation")}
    return {"axes": wanted, **picked, "unit": image["unit"]}


def _points(subject: Subject, frame: pd.DataFrame, columns: Sequence[Any], placement: Mapping[str, Any]) -> LayerData:
    """Return the points layer of a table; rows with missing coordinates are left out."""
    import numpy as np

    data = frame[list(columns)].to_numpy(dtype="float64", na_value=np.nan)
    finite = np.isfinite(data).all(axis=1)
    data, features = data[finite], _features(frame[finite], columns)
    axes, scale, translation = (list(placement[name]) for name in ("axes", "scale", "translation"))
    if len(axes) < PLANE_NDIM:
        data = np.column_stack([np.zeros(len(data)), data])
        axes, scale, translation = ["y", "x"], scale * 2, [0.0, *translation]
    span = float(np.ptp(data[:, -PLANE_NDIM:], axis=0).max()) if len(data) else 0.0
    attributes = {
        "name": _title(subject),
        "metadata": layer_metadata(subject, plane_bytes=data.nbytes),
        "features": features,
        "size": min(span / 100, 1e6) or 1.0,
        **geometry(axes, scale, translation, placement["unit"]),
        **saved_settings(subject.item.meta.get("layer"), "points"),
    }
    return data, attributes, "points"


def _title(subject: Subject) -> str:
    running = subject.origin.get("state") in {"running", "failed"}
    return f"{safe_label(subject.title)}{' (uncommitted)' if running else ''}"


def _features(frame: pd.DataFrame, without: Sequence[Any] = ()) -> pd.DataFrame:
    """Return the other columns of a table as features, with names and texts that a viewer can show."""
    import pandas as pd

    columns = [column for column in frame.columns if column not in set(without)][:MAX_FEATURES]
    parts: dict[str, Any] = {}
    for column in columns:
        values = frame[column]
        if isinstance(values, pd.DataFrame) or values.dtype.kind == "c":
            continue
        shown = values if values.dtype.kind in "biufmM" else values.astype(str).map(safe_label)
        parts[safe_label(column)] = shown.reset_index(drop=True)
    return pd.DataFrame(parts)


def _upstream_images(subject: Subject) -> Iterator[tuple[Subject, bool]]:
    """Yield the committed images and labels in the key of a table's node, and whether it is this version of each."""
    for address, recorded in (subject.node.inputs() if subject.node is not None else ())[:MAX_UPSTREAM_NODES]:
        upstream = read_snapshot(address)
        if not upstream.committed:
            continue
        rows = item_io.read_rows(upstream)
        for name in [recorded["item"]] if recorded.get("item") in rows else sorted(rows):
            if rows[name].get("kind") in {"image", "labels"} and rows[name].get("stored"):
                yield locate_item(upstream, name, rows[name]), upstream.version == recorded.get("version")


def _labels_with_features(
    subject: Subject, frame: pd.DataFrame, upstream: Sequence[tuple[Subject, bool]], *, visible: bool
) -> list[LayerData]:
    """Return the labels that the rows of a table describe, of the version in its key, with the rows as features."""
    column = next((name for name in LABEL_COLUMNS if name in frame.columns), None)
    if column is None or not _are_whole_numbers(frame[column]):
        return []
    labels = next((image for image, same in upstream if same and image.item.meta.get("kind") == "labels"), None)
    if labels is None:
        return []
    features = _features(frame.drop(columns=["index"] if column != "index" and "index" in frame.columns else []))
    features = features.rename(columns={column: "index"}).astype({"index": "int64"})
    origin = {**labels.origin, "state": subject.origin["state"]}
    labels = replace(labels, title=f"{subject.title} labels", origin=origin)
    return [
        (data, {**attributes, "features": features, "visible": visible}, kind)
        for data, attributes, kind in image_layers(labels)
    ]


def _are_whole_numbers(values: pd.Series) -> bool:
    """Whether a column holds whole numbers only; CSV and missing values may have made floats of them."""
    return values.dtype.kind in NUMBERS and bool((values.notna() & (values % 1 == 0)).all())


def _array_layer(subject: Subject, array: np.ndarray, key: str, kind: object) -> LayerData | None:
    """Return the image layer of an array in memory; None if it has no pixels."""
    if array.ndim < PLANE_NDIM or array.dtype.kind not in "biufc":
        return None
    if 0 in array.shape:
        msg = f"{subject.item.url} has the shape {array.shape}, so there is nothing to show"
        raise UsageError(msg)
    if subject.kind == "picture" and array.ndim == PLANE_NDIM + 1 and array.shape[-1] == GRAY_ALPHA:
        array = array[..., [0, 0, 0, 1]]
    rgb = array.ndim == PLANE_NDIM + 1 and array.shape[-1] in RGB and array.dtype == "uint8"
    data = array.astype("uint8") if array.dtype.kind == "b" else abs(array) if array.dtype.kind == "c" else array
    data = data.astype("float64") if data.dtype.itemsize > 8 else data  # noqa: PLR2004 - bytes
    attributes: dict[str, Any] = {
        "name": f"{_title(subject)}{f'/{safe_label(key)}' if key else ''}",
        "metadata": layer_metadata(subject, plane_bytes=data.nbytes, kind=str(kind or "array")),
        "rgb": rgb,
        **({"contrast_limits": (0, 1)} if array.dtype.kind == "b" else {}),
    }
    return data, {**attributes, **saved_settings(subject.item.meta.get("layer"), "image")}, "image"
