"""Points with features (``.points.parquet``, ``.points.csv``): a table with some columns as coordinates.

A coordinate counts pixels; its world position is ``coordinate * scale + translation``, as for pixels of an image.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cvcache.errors import UsageError
from cvcache.formats import check_dataframe, csv_table, import_optional, not_reproducible, parquet, type_name
from cvcache.image.ome_metadata import long_unit
from cvcache.image.pyramid import per_axis
from cvcache.image.read import image_geometry
from cvcache.image.write import check_unit, parse_axes, parse_numbers

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from cvcache.formats import ItemPath, ItemWrite

logger = logging.getLogger("cvcache")

AXES = "tzyx"


def write(
    item: ItemWrite,
    obj: Any,
    /,
    *,
    axes: Sequence[str] | Mapping[str, str | int] | None = None,
    scale: Sequence[float] | Mapping[str, float] | None = None,
    translation: Sequence[float] | Mapping[str, float] | None = None,
    unit: str | Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write points; axes, scale, translation and unit are in the metadata.

    Parameters
    ----------
    item : ItemWrite
    obj : pandas.DataFrame or numpy.ndarray
        One point a row: a table with a column of numbers for each axis, the other columns being features; or an array
        (points, axes) of integers or floats. It is read as the same type.
    axes : sequence of str, or mapping, optional
        Letters of ``tzyx``: in the order of an array's columns, or the columns of a table that are called so; or
        axis to column, ``{"y": "centroid-0", "x": "centroid-1"}``. By default the columns ``t``, ``z``, ``y`` and
        ``x`` as far as present, and of an array the last ones of ``tzyx``.
    scale, translation : sequence or mapping of float, optional
        Size of a pixel, and position of the first pixel's centre: one per axis, one per axis of space, or by axis name.
    unit : str or mapping, optional
        Of the axes of space, or by axis name.

    Scale, translation and unit that are not given are those of the image in the node's key, if it has these axes.

    Raises
    ------
    NotReproducible
        `obj` is no such table or array, or would come back changed.
    UsageError
        Axes that do not fit, or coordinates that are no numbers.

    Notes
    -----
    One PUT. The file is decoded and compared first.
    """
    pandas = import_optional("pandas", "tables", item)
    is_array = type_name(obj) == "numpy.ndarray"
    if not is_array and not check_dataframe(item, obj, " or numpy.ndarray").columns.is_unique:
        raise not_reproducible(item, "two columns have the same name", "rename one of them")
    columns = _axis_columns(item, obj, axes, is_array=is_array)
    frame = pandas.DataFrame(_check_coordinates(item, obj), columns=list(columns)) if is_array else obj
    geometry = _geometry(item, list(columns), scale, translation, unit)
    features = [label for label in frame.columns.tolist() if label not in columns.values()]
    points = {**geometry, "coordinates": list(columns.values()), "features": features, "array": is_array}
    if _is_csv(item):
        data, meta = csv_table.encode(item, frame)
    else:
        data = parquet.encode(item, frame, {"points": points})
        meta = parquet.file_metadata(data)
    item.put(data)
    return {**meta, **points, "kind": "points"}


def read(item: ItemPath, /) -> pd.DataFrame | np.ndarray:
    """Return the points in the type that was written; one GET.

    Raises
    ------
    ItemDamaged
        The bytes are not the table that was written.
    """
    if _is_csv(item):
        return _restore(csv_table.read(item), item.meta)
    data = item.get()
    frame = parquet.decode(item, data)
    return _restore(frame, parquet.read_cvcache_metadata(data).get("points", {}))


def describe(item: ItemPath) -> dict[str, Any]:
    """Return the metadata of the table, and of a Parquet file also the geometry; calls as for a table."""
    if _is_csv(item):
        return {**csv_table.describe(item), "kind": "points"}
    return {**parquet.describe(item), **_read_points_metadata(item), "kind": "points"}


def _read_points_metadata(item: ItemPath) -> dict[str, Any]:
    import pyarrow.parquet as pq

    from cvcache.formats import cvcache_metadata

    with item.store.open(item.path, "rb") as file:
        metadata: dict[str, Any] = cvcache_metadata(pq.read_schema(file)).get("points", {})
    return metadata


def _is_csv(item: ItemPath) -> bool:
    return item.name.endswith(".csv")


def _restore(frame: pd.DataFrame, points: Mapping[str, Any]) -> pd.DataFrame | np.ndarray:
    import numpy as np

    return np.array(frame.to_numpy(), order="C") if points.get("array") else frame


def _axis_columns(item: ItemPath, obj: Any, axes: Any, *, is_array: bool) -> dict[str, str | int]:
    """Return axis -> column, checked."""
    pairs = _array_columns(item, obj, axes) if is_array else _table_columns(obj, axes)
    columns = dict(pairs)
    is_one_to_one = 0 < len(pairs) == len(columns) == len(set(columns.values()))
    if not is_one_to_one or not set(columns) <= set(AXES):
        description = f"an array of shape {obj.shape}"
        if not is_array:
            description = f"a table with the columns {obj.columns.tolist()[:20]}"
        msg = (
            f"{item.url} was not written: axes={axes!r} does not fit {description}; give one letter of tzyx for each "
            "column of numbers that is a coordinate, or a mapping as in {'y': 'row', 'x': 'col'}"
        )
        raise UsageError(msg)
    return columns


def _array_columns(item: ItemPath, array: np.ndarray, axes: Any) -> list[tuple[str, str | int]]:
    """Return each axis with its column in the table made of `array`; empty if `axes` are not as many."""
    count = array.shape[1] if array.ndim == 2 else 0  # noqa: PLR2004 - points by axes
    if not 0 < count <= len(AXES):
        reason = f"shape {array.shape} is not (points, axes) with 1 to 4 axes"
        raise not_reproducible(item, reason, "pass a DataFrame with features")
    letters = () if isinstance(axes, Mapping) else parse_axes(axes) or AXES[-count:]
    return [(letter, letter) for letter in letters] if len(letters) == count else []


def _table_columns(frame: pd.DataFrame, axes: Any) -> list[tuple[str, str | int]]:
    """Return each axis with its column; empty if one of them is no column of numbers."""
    present = frame.columns.tolist()
    letters = parse_axes(list(axes) if isinstance(axes, Mapping) else axes)
    if letters is None:
        letters = tuple(letter for letter in AXES if letter in present)
    pairs = list(axes.items() if isinstance(axes, Mapping) else zip(letters, letters, strict=True))
    is_numeric = all(column in present and frame[column].dtype.kind in "iuf" for _, column in pairs)
    return pairs if is_numeric else []


def _check_coordinates(item: ItemPath, array: np.ndarray) -> np.ndarray:
    """Return `array` if the columns of a table keep its dtype, else raise `NotReproducible`."""
    if array.dtype.kind not in "iuf" or not array.dtype.isnative:
        raise not_reproducible(item, f"coordinates of {array.dtype!r} are not kept", "convert them with .astype(float)")
    return array


def _geometry(item: ItemWrite, axes: list[str], scale: Any, translation: Any, unit: Any) -> dict[str, Any]:
    """Return axes, scale, translation and unit: as given, else of the image in the node's key."""
    inherited = _input_geometry(item, axes) if scale is None or translation is None or unit is None else {}
    units = check_unit(unit, axes) if unit is not None else inherited.get("unit", {})

    def per_axis_list(name: str, values: Any, default: float) -> list[float]:
        return list(
            per_axis(parse_numbers(name, inherited.get(name) if values is None else values), axes, default, name)
        )

    return {
        "axes": axes,
        "scale": per_axis_list("scale", scale, 1.0),
        "translation": per_axis_list("translation", translation, 0.0),
        "unit": {axis: long_unit(name) for axis, name in units.items()},
    }


def _input_geometry(item: ItemWrite, axes: list[str]) -> dict[str, Any]:
    """Return scale, translation and unit of the images in the node's key with all these axes; empty if they differ."""
    geometries: list[dict[str, Any]] = []
    for image in (image_geometry(meta) for meta in item.inputs if "scales" in meta):
        if set(axes) <= set(image["axes"]):
            geometry = {
                field: {axis: dict(zip(image["axes"], image[field], strict=True))[axis] for axis in axes}
                for field in ("scale", "translation")
            }
            geometry["unit"] = {axis: name for axis, name in image["unit"].items() if axis in axes}
            geometries += [] if geometry in geometries else [geometry]
    if len(geometries) > 1:
        logger.warning(
            "%s: its inputs differ in scale or position, so it takes neither; say scale=, translation= and unit=",
            item.url,
        )
    return geometries[0] if len(geometries) == 1 else {}
