"""Layers of what is read whole: points, tables that have coordinates or go with labels, small arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cvcache.browse.layer_data.images import PLANE, RGB, LayerData, Subject, image_layers, watched_place
from cvcache.browse.layer_data.settings import geometry, label, saved
from cvcache.browse.rows import item_row
from cvcache.errors import UsageError
from cvcache.formats import find_format
from cvcache.image import image_geometry
from cvcache.node import init

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from cvcache.browse.rows import Row

MOST_ROWS = 1_000_000
MOST_BYTES = 256 << 20
MOST_SOURCES = 16
"""Nodes in the key of a table that are looked at."""
MOST_ARRAYS = 32
MOST_FEATURES = 256
SPACE = "zyx"
LABEL_COLUMNS = ("label", "label_id", "index")
NUMBERS = "iuf"
GRAY_ALPHA = 2


def points_layers(subject: Subject) -> list[LayerData]:
    """Return the layer of an item of points, with the other columns as features; reads the item, one GET."""
    meta = subject.place.meta
    if "coordinates" not in meta:
        meta = {**meta, **find_format(subject.name).describe(subject.place)}
    frame = _frame(subject, meta)
    if "coordinates" not in meta:
        return _coordinates(subject, frame, None)
    columns = list(meta["coordinates"])
    if meta.get("array"):
        frame = frame.set_axis(columns, axis=1)
    placed = {name: meta[name] for name in ("axes", "scale", "translation", "unit")}
    return [_points(subject, frame, columns, placed)]


def table_layers(subject: Subject) -> list[LayerData]:
    """Return points for a table with coordinates, and the labels in its node's key that its rows describe.

    Nothing for any other table.

    Notes
    -----
    One GET of the table, and where it has such columns one LIST and one GET for each node in its node's key.
    """
    names = subject.place.meta.get("columns")
    if isinstance(names, list) and not _coordinate_columns(names) and not set(LABEL_COLUMNS) & set(map(str, names)):
        return []
    frame = _frame(subject, subject.place.meta)
    sources = list(_sources(subject))
    found = _coordinates(subject, frame, sources)
    return [*_described_labels(subject, frame, sources, visible=not found), *found]


def array_layers(subject: Subject) -> list[LayerData]:
    """Return image layers of numeric arrays of two or more axes in a small file; one GET."""
    meta = subject.place.meta
    if subject.row is None or not (meta.get("shape") or meta.get("arrays")):
        meta = find_format(subject.name).describe(subject.place)
    kind = meta.get("kind")
    rows = meta.get("arrays", {"": meta})
    if not all("shape" in row for row in rows.values()):  # nobody dares to say of how many pixels
        msg = f"{subject.place.url} is too large to show; open it with another program, or write it as .ome.zarr"
        raise UsageError(msg)
    wanted = [name for name, row in rows.items() if len(row["shape"]) >= PLANE][:MOST_ARRAYS]
    if not wanted:
        return []
    _check_bytes(subject, meta, sum(_bytes_of(row) for row in rows.values()))
    value = _value(subject)
    arrays = value if isinstance(value, Mapping) else {"": value}
    found = [_picture(subject, arrays[name], name, kind) for name in wanted if hasattr(arrays.get(name), "dtype")]
    return [layer for layer in found if layer is not None]


def _value(subject: Subject) -> Any:
    """Return what the format of an item or file reads of it."""
    row = subject.row
    if row is not None and row.state != "foreign":
        return row.node.read(subject.name)
    return find_format(subject.name).read(subject.place)


def _bytes_of(row: Mapping[str, Any]) -> int:
    import numpy as np

    size: int = math.prod(row["shape"]) * np.dtype(row["dtype"]).itemsize
    return size


def _check_bytes(subject: Subject, meta: Mapping[str, Any], size: int) -> None:
    """Refuse what is too large to be read whole for a look."""
    stored = meta.get("size", meta.get("bytes"))
    size = max(size, stored if isinstance(stored, int) else 0)
    if size > MOST_BYTES:
        msg = f"{subject.place.url} has {size:,} bytes and is read whole, which is done up to {MOST_BYTES:,}; write it"
        raise UsageError(f"{msg} as .ome.zarr or .zarr to look at parts of it, or read it in a script")


def _frame(subject: Subject, meta: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table or array of points as a DataFrame that is no longer than what a viewer can bear."""
    _check_bytes(subject, meta, 0)
    if "rows" not in meta:
        meta = find_format(subject.name).describe(subject.place)
    rows = meta.get("rows")
    if isinstance(rows, int) and rows > MOST_ROWS:
        msg = f"{subject.place.url} has {rows:,} rows, and a viewer is given {MOST_ROWS:,} at most; read it in a script"
        raise UsageError(f"{msg} and show a part of it")
    import pandas as pd

    value = _value(subject)
    if hasattr(value, "to_pandas"):
        value = value.to_pandas()
    return value if isinstance(value, pd.DataFrame) else pd.DataFrame(value)


def _coordinate_columns(names: list[Any]) -> tuple[str, list[Any]] | None:
    """Return the axes and columns of a table's coordinates: z, y and x, or numbered ones; None without them."""
    letters = [axis for axis in "tzyx" if names.count(axis) == 1]
    if {"y", "x"} <= set(letters):
        return "".join(letters), letters
    for stem in ("centroid-", "axis-"):
        numbered = sorted(name for name in names if isinstance(name, str) and name.startswith(stem))
        if len(numbered) >= PLANE and numbered == [f"{stem}{i}" for i in range(len(numbered))]:
            return "", numbered
    return None


def _coordinates(
    subject: Subject, frame: pd.DataFrame, sources: Sequence[tuple[Row, str | None]] | None
) -> list[LayerData]:
    """Return the points of a table whose columns say where they are."""
    found = _coordinate_columns(frame.columns.tolist())
    if found is None or any(frame[column].dtype.kind not in NUMBERS for column in found[1]):
        return []
    axes, columns = found
    count, images = len(columns), [row.meta for row, _ in sources or ()]
    tried = ((meta, part) for part in (False, True) for meta in images)
    placed = next((place for meta, part in tried if (place := _placed_by(meta, axes, count, part=part))), None)
    if placed is None:
        axes = axes or ("tzyx"[-count:] if count <= len("tzyx") else "")
        names = list(axes) or [f"axis {i}" for i in range(count)]
        placed = {"axes": names, "scale": [1.0] * count, "translation": [0.0] * count, "unit": {}}
    return [_points(subject, frame, columns, placed)]


def _placed_by(meta: Mapping[str, Any], axes: str, count: int, *, part: bool) -> dict[str, Any] | None:
    """Return the place in the world of such coordinates in an image; None where its axes are others.

    With `part` those of a projection along the first axes are taken too.
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


def _points(subject: Subject, frame: pd.DataFrame, columns: Sequence[Any], placed: Mapping[str, Any]) -> LayerData:
    """Return the layer of a table's points; those without a place are left out."""
    import numpy as np

    data = frame[list(columns)].to_numpy(dtype="float64", na_value=np.nan)
    there = np.isfinite(data).all(axis=1)
    data, features = data[there], _features(frame[there], columns)
    axes, scale, translation = (list(placed[name]) for name in ("axes", "scale", "translation"))
    if len(axes) < PLANE:
        data = np.column_stack([np.zeros(len(data)), data])
        axes, scale, translation = ["y", "x"], scale * 2, [0.0, *translation]
    span = float(np.ptp(data[:, -PLANE:], axis=0).max()) if len(data) else 0.0
    attributes = {
        "name": _title(subject),
        "metadata": subject.metadata(plane_bytes=data.nbytes),
        "features": features,
        "size": min(span / 100, 1e6) or 1.0,
        **geometry(axes, scale, translation, placed["unit"]),
        **saved(subject.place.meta.get("layer"), "points"),
    }
    return data, attributes, "points"


def _title(subject: Subject) -> str:
    running = subject.about.get("state") in {"running", "failed"}
    return f"{label(subject.title)}{' (uncommitted)' if running else ''}"


def _features(frame: pd.DataFrame, without: Sequence[Any] = ()) -> pd.DataFrame:
    """Return the other columns of a table under names, and with texts, that a viewer can show."""
    import pandas as pd

    kept = [column for column in frame.columns if column not in set(without)][:MOST_FEATURES]
    parts: dict[str, Any] = {}
    for column in kept:
        values = frame[column]
        if isinstance(values, pd.DataFrame) or values.dtype.kind == "c":
            continue
        shown = values if values.dtype.kind in "biufmM" else values.astype(str).map(label)
        parts[label(column)] = shown.reset_index(drop=True)
    return pd.DataFrame(parts)


def _sources(subject: Subject) -> Iterator[tuple[Row, str | None]]:
    """Yield the images and labels in the key of a table's node, and the version of each that is in it."""
    row = subject.row
    if row is None or row.state == "foreign":
        return
    node = row.node
    given = [
        source for source in node.inputs if init.resolve_relative(node.location, source.get("url", "")) is not None
    ]
    for source, (upstream, version) in list(zip(given, node.sources(), strict=True))[:MOST_SOURCES]:
        if not upstream.committed:
            continue
        rows = upstream.rows()
        for name in [source["item"]] if source.get("item") in rows else sorted(rows):
            if rows[name].get("kind") in {"image", "labels"} and rows[name].get("stored"):
                yield item_row("", upstream, "committed", name, rows[name]), version


def _described_labels(
    subject: Subject, frame: pd.DataFrame, sources: Sequence[tuple[Row, str | None]], *, visible: bool
) -> list[LayerData]:
    """Return the labels that a table has one row for each of; of the version it was made from."""
    column = next((name for name in LABEL_COLUMNS if name in frame.columns), None)
    if column is None or not _are_whole(frame[column]):
        return []
    row = next((r for r, version in sources if r.meta.get("kind") == "labels" and r.node.version == version), None)
    if row is None:
        return []
    features = _features(frame.drop(columns=["index"] if column != "index" and "index" in frame.columns else []))
    features = features.rename(columns={column: "index"}).astype({"index": "int64"})
    about = {
        **subject.about,
        "url": row.url,
        "node": row.node.url,
        "item": row.name,
        "path": "",
        "commit": attempt_of(row),
    }
    shown = Subject(watched_place(row), row.name, f"{subject.title} labels", about, row)
    return [
        (data, {**attributes, "features": features, "visible": visible}, kind)
        for data, attributes, kind in image_layers(shown)
    ]


def _are_whole(values: pd.Series) -> bool:
    """Whether a column holds whole numbers and nothing else; CSV and gaps elsewhere make floats of them."""
    return values.dtype.kind in NUMBERS and bool((values.notna() & (values % 1 == 0)).all())


def attempt_of(row: Row) -> str:
    """Return the attempt whose result an item is; empty where there is none."""
    record = row.node.record() if row.state != "foreign" else None
    return record.attempt if record is not None else ""


def _picture(subject: Subject, array: np.ndarray, key: str, kind: object) -> LayerData | None:
    """Return the layer of an array in memory; None for what are no pixels."""
    if array.ndim < PLANE or array.dtype.kind not in "biufc":
        return None
    if 0 in array.shape:
        msg = f"{subject.place.url} has the shape {array.shape}, so there is nothing to show"
        raise UsageError(msg)
    if subject.name.endswith(".png") and array.ndim == PLANE + 1 and array.shape[-1] == GRAY_ALPHA:
        array = array[..., [0, 0, 0, 1]]
    rgb = array.ndim == PLANE + 1 and array.shape[-1] in RGB and array.dtype == "uint8"
    data = array.astype("uint8") if array.dtype.kind == "b" else abs(array) if array.dtype.kind == "c" else array
    data = data.astype("float64") if data.dtype.itemsize > 8 else data  # noqa: PLR2004 - bytes
    attributes: dict[str, Any] = {
        "name": f"{_title(subject)}{f'/{label(key)}' if key else ''}",
        "metadata": subject.metadata(plane_bytes=data.nbytes, kind=str(kind or "array")),
        "rgb": rgb,
        **({"contrast_limits": (0, 1)} if array.dtype.kind == "b" else {}),
    }
    return data, {**attributes, **saved(subject.place.meta.get("layer"), "image")}, "image"
