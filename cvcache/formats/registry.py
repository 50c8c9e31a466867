"""Registry of formats: the suffix of an item's name selects the module that writes and reads it, and tells its kind.

A format is a module with three functions (`FormatModule`). Built-in ones are listed at the end by dotted
name and imported at their first use; `register_format` adds one to this process, an entry point in
the group ``cvcache.formats`` (name: the suffix, value: the module) adds one with an installed package.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from cvcache.errors import InvalidName, UnknownFormat, check_options, did_you_mean
from cvcache.store import is_item_dir

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from cvcache.formats.item_path import ItemPath
    from cvcache.formats.item_write import ItemWrite

T = TypeVar("T")

KINDS = ("image", "labels", "points", "table", "plot", "notebook", "log", "text", "json", "array", "file")
"""Kinds of items that a browser shows; the metadata of each item has one as ``kind``."""

ENTRY_POINT_GROUP = "cvcache.formats"


class FormatModule(Protocol):
    """Interface of a format: a module, or any object with these functions.

    ``write`` either writes `obj` so that ``read`` returns an equal object (type, dtype, shape, key types),
    or raises `NotReproducible` before the first byte. `item` is the item being written, or to be read.
    ``write`` returns the item's metadata: "kind" and, as fits, shape, dtype, axes, scale, unit, levels,
    chunks, rows, columns, bytes; small plain JSON values. A file format writes exactly one object,
    ``item.put(data)``. Options are keyword-only parameters of ``write`` and ``read``. ``describe`` returns
    the metadata from the stored bytes alone.
    """

    def write(self, item: ItemWrite, obj: object, /, **options: Any) -> dict[str, Any]:
        """Write `obj` and return the item's metadata."""

    def read(self, item: ItemPath, /, **options: Any) -> object:
        """Return the object."""

    def describe(self, item: ItemPath, /) -> dict[str, Any]:
        """Return the metadata from the stored bytes alone."""


@dataclass(frozen=True)
class Format:
    """A suffix (without its leading dot) and the format module, or the dotted name of one."""

    suffix: str
    target: str | ModuleType | FormatModule

    @property
    def directory(self) -> bool:
        """Whether an item of this format is a directory."""
        return is_item_dir(f".{self.suffix}")

    def stem(self, name: str) -> str:
        """Return the name of an item of this format without the suffix."""
        return name.removesuffix(self.suffix).rstrip(".") or name

    @functools.cached_property
    def module(self) -> FormatModule:
        """The module, imported at the first use.

        Raises
        ------
        UnknownFormat
            The module cannot be imported, or lacks one of the three functions.
        """
        target = self.target
        if isinstance(target, str):
            try:
                target = importlib.import_module(target)
            except ImportError as error:
                msg = f"the format .{self.suffix} is registered as {target!r}, which cannot be imported: {error}"
                raise UnknownFormat(msg) from error
        missing = [verb for verb in ("write", "read", "describe") if not callable(getattr(target, verb, None))]
        if missing:
            msg = f"the format .{self.suffix} ({target!r}) has no function {missing[0]!r}; see cvcache.formats"
            raise UnknownFormat(msg)
        return cast("FormatModule", target)

    def write(self, item: ItemWrite, obj: object, /, **options: object) -> dict[str, Any]:
        """Write `obj` as `item` and return the item's metadata.

        Raises
        ------
        UnknownOption
            An option that this format's ``write`` does not take.
        NotReproducible
            `obj` would change; nothing was written.
        """
        if options:
            check_options(options, _option_names(self.module.write), f"writing a .{self.suffix} ({item.name})")
        return self.module.write(item, obj, **options)

    def read(self, item: ItemPath, /, **options: object) -> object:
        """Return the object stored in `item`.

        Raises
        ------
        UnknownOption
            An option that this format's ``read`` does not take.
        ItemDamaged
            The stored bytes are not of this format.
        """
        if options:
            check_options(options, self._read_options, f"reading a .{self.suffix} ({item.name})")
        return self.module.read(item, **options)

    @functools.cached_property
    def _read_options(self) -> list[str]:
        return _option_names(self.module.read)

    def __reduce__(self) -> tuple[Any, ...]:
        # the cached module cannot be pickled
        return Format, (self.suffix, self.target)

    def describe(self, item: ItemPath) -> dict[str, Any]:
        """Return the metadata of a stored item, also of one that another program wrote."""
        return self.module.describe(item)


def _option_names(function: object) -> list[str]:
    parameters = inspect.signature(cast("Any", function)).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def register_format(suffix: str, module: str | ModuleType | FormatModule, *, directory: bool | None = None) -> None:
    """Register `module` for items whose name ends in `suffix`, in this process.

    Parameters
    ----------
    suffix : str
        As in ``"parquet"`` or ``"points.dir"``; a leading dot is ignored. Replaces an earlier
        registration.
    module : str or module
        With functions ``write``, ``read`` and ``describe``, see `FormatModule`; a dotted string is
        imported at the first use.
    directory : bool, optional
        Whether the format writes several objects; checked against the suffix if given.

    Raises
    ------
    InvalidName
        The suffix is not valid, or contradicts `directory`: names of directory items end in
        ``.zarr`` or ``.dir``, names of files do not.
    """
    suffix = suffix.removeprefix(".")
    if not re.fullmatch(r"[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*", suffix):
        msg = f"{suffix!r} cannot be a suffix: letters, digits and _+- with single dots between, as in 'points.dir'"
        raise InvalidName(msg)
    if directory is not None and directory != is_item_dir(f".{suffix}"):
        if directory:
            msg = f"a format that writes a directory needs a suffix ending in .zarr or .dir: {suffix + '.dir'!r}"
        else:
            msg = f"the suffix {suffix!r} names a directory (.zarr, .dir), so its format cannot write a single file"
        raise InvalidName(msg)
    _formats[suffix] = Format(suffix, module)


def find_format(name: str) -> Format:
    """Return the format of an item by the longest registered suffix of its name.

    Raises
    ------
    UnknownFormat
        No format has a suffix of `name`.
    """
    if fmt := registered_format(name):
        return fmt
    known = sorted({*_formats, *_plugin_formats()})
    suffix = name.partition(".")[2]
    if not suffix:
        msg = f"{name!r} has no suffix to tell its format by, as in {name + '.json'!r} (known: {', '.join(known)})"
        raise UnknownFormat(msg)
    suggestion = did_you_mean(suffix, known) or did_you_mean(suffix.rpartition(".")[2], known)
    msg = (
        f"no format for {name!r}{suggestion} (known: {', '.join(known)}); "
        f"add one with register_format({suffix!r}, module), or make the file yourself with open({name!r}) or "
        f"path({name!r}) of the directory"
    )
    raise UnknownFormat(msg)


def registered_format(name: str) -> Format | None:
    """Return what `find_format` does, or None where that raises.

    Entry points are used only for a name that matches no registered suffix, so a plugin cannot take over
    the names of built-in formats; for ``name.fmt.dir`` an entry point goes before plain ``.dir``.
    """
    fmt = find_suffix(name, _formats)
    if fmt is None or (fmt.suffix == "dir" and name.count(".") > 1):
        fmt = find_suffix(name, _plugin_formats()) or fmt
    return fmt


def kind_of(name: str) -> str:
    """Return the kind that the suffix of a name, path or URL tells; empty if it tells none.

    One of `KINDS`, or "directory", "link", or "picture": a PNG, which is an image or a plot.
    """
    hidden_too = f"_{name.rpartition('/')[2]}"
    kind, _ = find_suffix(hidden_too, _SUFFIXES) or ("", "")
    return kind


def find_suffix(name: str, table: Mapping[str, T]) -> T | None:
    """Return the value in `table` of the longest suffix that a name has there, or None."""
    dot = name.find(".", 1)
    while dot > 0:
        if found := table.get(name[dot + 1 :]):
            return found
        dot = name.find(".", dot + 1)
    return None


@functools.cache
def _plugin_formats() -> dict[str, Format]:
    from importlib.metadata import entry_points

    points = entry_points(group=ENTRY_POINT_GROUP)
    return {point.name.removeprefix("."): Format(point.name.removeprefix("."), point.value) for point in points}


_SUFFIXES = {
    "bin": ("file", "cvcache.formats.binary"),
    "csv": ("table", "cvcache.formats.csv_table"),
    "dir": ("directory", "cvcache.formats.directory"),
    "htm": ("text", ""),
    "html": ("text", "cvcache.formats.text"),
    "ipynb": ("notebook", "cvcache.formats.notebook"),
    "json": ("json", "cvcache.formats.json_value"),
    "log": ("log", "cvcache.formats.text"),
    "md": ("text", "cvcache.formats.text"),
    "npy": ("array", "cvcache.formats.npy"),
    "npz": ("array", "cvcache.formats.npz"),
    "ome.zarr": ("image", "cvcache.image.ome_zarr"),
    "ome.zarr.zip": ("image", "cvcache.image.ome_zarr_zip"),
    "parquet": ("table", "cvcache.formats.parquet"),
    "pdf": ("plot", "cvcache.formats.figure"),
    "png": ("picture", "cvcache.formats.png"),
    "points.csv": ("points", "cvcache.image.points"),
    "points.parquet": ("points", "cvcache.image.points"),
    "ref": ("link", "cvcache.image.link"),
    "svg": ("plot", "cvcache.formats.figure"),
    "text": ("text", ""),
    "toml": ("text", ""),
    "txt": ("text", "cvcache.formats.text"),
    "xml": ("text", ""),
    "yaml": ("text", "cvcache.formats.text"),
    "yml": ("text", ""),
    "zarr": ("image", "cvcache.image.zarr_array"),
    "zarr.zip": ("image", ""),
}
"""The kind that a suffix tells, and the module of its format; none for what is shown but not written."""

_formats = {suffix: Format(suffix, module) for suffix, (_, module) in _SUFFIXES.items() if module}
