"""Metadata documents of an OME-Zarr 0.5 or 0.4 group, from the levels of a pyramid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cvcache.image.pyramid import AXIS_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cvcache.image.arrays import ArraySpec
    from cvcache.image.pyramid import Level

CHANNEL_COLORS = ("00FF00", "FF00FF", "00FFFF", "FF0000", "FFFF00", "0000FF")
LONG_UNITS = {
    "pm": "picometer",
    "Å": "angstrom",
    "nm": "nanometer",
    "um": "micrometer",
    "µm": "micrometer",
    "μm": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "km": "kilometer",
    "in": "inch",
    "ns": "nanosecond",
    "us": "microsecond",
    "µs": "microsecond",
    "μs": "microsecond",
    "ms": "millisecond",
    "s": "second",
    "sec": "second",
    "min": "minute",
    "h": "hour",
    "d": "day",
}


METHOD_TYPES = {"mean": "local_mean"}
METHOD_DESCRIPTIONS = {
    "mean": "mean of each cell, in the type of the pixels, rounded",
    "mode": "commonest pixel of each cell, of equally common ones the greatest",
    "nearest": "first pixel of each cell",
    "max": "greatest pixel of each cell",
    "min": "least pixel of each cell",
    "median": "median of each cell, the upper one of two",
}


def long_unit(unit: str) -> str:
    """Return the OME-Zarr name of `unit`: ``micrometer`` for ``um``; an unknown unit is returned unchanged."""
    return LONG_UNITS.get(unit, unit)


def ome_axes(axes: Sequence[str], units: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the ``axes`` of a multiscale: name, type and, if known, the long name of the unit."""
    return [
        {"name": name, "type": AXIS_TYPES[name], **({"unit": long_unit(units[name])} if name in units else {})}
        for name in axes
    ]


def ome_metadata(
    name: str,
    axes: Sequence[str],
    levels: Sequence[Level],
    *,
    units: Mapping[str, str] | None = None,
    kind: str = "image",
    method: str = "mean",
    version: str = "0.5",
) -> dict[str, Any]:
    """Return the OME-Zarr attributes of the group of an image; level n is at path ``n``.

    Parameters
    ----------
    name : str
        Name of the multiscale.
    axes : sequence of str
        One letter per dimension.
    levels : sequence of Level
    units : mapping of str to str, optional
        Axis name to unit, short or long.
    kind : str
        "image" or "labels".
    method : str
        How each level was downsampled from the previous one.
    version : str
        "0.5", where this goes under ``ome``, or "0.4".
    """
    datasets = [
        {
            "path": str(i),
            "coordinateTransformations": [
                {"type": "scale", "scale": list(level.scale)},
                {"type": "translation", "translation": list(level.translation)},
            ],
        }
        for i, level in enumerate(levels)
    ]
    multiscale = {
        "name": name,
        "axes": ome_axes(axes, units or {}),
        "datasets": datasets,
        "type": METHOD_TYPES.get(method, method),
        "metadata": {"description": METHOD_DESCRIPTIONS[method], "method": f"cvcache:{method}"},
    }
    version_field = {} if version == "0.5" else {"version": version}
    metadata: dict[str, Any] = {"multiscales": [{**version_field, **multiscale}]}
    if not version_field:
        metadata = {"version": version, **metadata}
    if kind == "labels":
        metadata["image-label"] = {"version": version}
    return metadata


def omero_metadata(
    channels: Iterable[str | Mapping[str, Any]],
    contrast: Sequence[tuple[float, float]],
    limits: tuple[float, float] | None,
) -> dict[str, Any]:
    """Return the ``omero`` block: per channel a label, a colour, and the window of intensities to show.

    Parameters
    ----------
    channels : iterable of str or mapping
        A label, or fields that override the defaults.
    contrast : sequence of (low, high)
        Intensities shown as black and as full colour, per channel.
    limits : (low, high) or None
        Range of the dtype; None (a float) takes the contrast itself.
    """
    channel_fields = [{"label": channel} if isinstance(channel, str) else dict(channel) for channel in channels]
    rows = []
    for i, (fields, (start, end)) in enumerate(zip(channel_fields, contrast, strict=True)):
        low, high = limits or (start, end)
        window = {"min": low, "max": high, "start": start, "end": end}
        color = "FFFFFF" if len(channel_fields) == 1 else CHANNEL_COLORS[i % len(CHANNEL_COLORS)]
        rows.append({"label": str(i), "color": color, "active": True, "window": window, **fields})
    return {"channels": rows, "rdefs": {"model": "greyscale" if len(rows) == 1 else "color"}}


def group_attributes(
    multiscale: Mapping[str, Any], cvcache_attributes: Mapping[str, Any], omero: Mapping[str, Any] | None, version: str
) -> dict[str, Any]:
    """Return the attributes of the group of an image: those of OME-Zarr, and ``cvcache``."""
    ome = {**multiscale, **({"omero": dict(omero)} if omero else {})}
    return (
        {"ome": ome, "cvcache": dict(cvcache_attributes)}
        if version == "0.5"
        else {**ome, "cvcache": dict(cvcache_attributes)}
    )


def group_documents(
    attributes: Mapping[str, Any], specs: Sequence[ArraySpec], version: str
) -> dict[str, Mapping[str, Any]]:
    """Return the metadata documents of the group, the one with the attributes last; 0.5 has consolidated metadata."""
    if version == "0.4":
        return {".zgroup": {"zarr_format": 2}, ".zattrs": attributes}
    arrays = {spec.path: spec.document() for spec in specs}
    inline = {"kind": "inline", "must_understand": False, "metadata": arrays}
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes, "consolidated_metadata": inline}
    return {"zarr.json": group}
