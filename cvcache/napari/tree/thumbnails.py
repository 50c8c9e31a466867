"""Thumbnails of the visible images, read in workers and kept as icons."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap

from cvcache.browse import Row, thumbnail
from cvcache.formats import kind_of
from cvcache.napari.decode import decode_picture
from cvcache.napari.jobs import Jobs

SIDE_LENGTH = 36
"""Pixels of the longer side: twice the shown size, for screens of high density."""
MAX_ICONS = 2000
ROWS_PER_JOB, MAX_JOBS = 4, 3
MAX_PNG_BYTES = 2 << 20
"""Bytes of a PNG item that is used as its own thumbnail."""

IconKey = tuple[str, str]


class Thumbnails(QObject):
    """Icons of image items.

    Signals
    -------
    loaded : paths of the rows whose thumbnails were loaded.
    """

    loaded = Signal(object)

    def __init__(self, jobs: Jobs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.on = True
        self._jobs = jobs
        self._icons: OrderedDict[IconKey, QIcon | None] = OrderedDict()
        self._loading: set[IconKey] = set()
        self._active_jobs = 0
        self._pending: list[Row] = []

    def icon(self, row: Row) -> QIcon | None:
        """Return the thumbnail of an item, if it was loaded."""
        return self._icons.get(_key(row)) if self.on and _may_have_thumbnail(row) else None

    def load(self, rows: Iterable[Row]) -> None:
        """Load the thumbnails of these rows, and drop earlier requests that were not started."""
        candidates = [row for row in rows if _may_have_thumbnail(row)] if self.on else []
        self._pending = [row for row in candidates if _key(row) not in self._icons and _key(row) not in self._loading]
        self._next()

    def clear(self) -> None:
        """Drop all thumbnails."""
        self._icons.clear()
        self._pending.clear()

    def _next(self) -> None:
        while self._pending and self._active_jobs < MAX_JOBS:
            batch, self._pending = self._pending[:ROWS_PER_JOB], self._pending[ROWS_PER_JOB:]
            self._active_jobs += 1
            self._loading.update(map(_key, batch))
            self._jobs.start(read_thumbnails, batch, done=self._read)

    def _read(self, thumbnails: Sequence[tuple[Row, QImage | None]]) -> None:
        self._active_jobs -= 1
        self._loading.difference_update(_key(row) for row, _ in thumbnails)
        for row, image in thumbnails:
            self._icons[_key(row)] = _undyed_icon(QPixmap.fromImage(image)) if image is not None else None
        while len(self._icons) > MAX_ICONS:
            self._icons.popitem(last=False)
        self.loaded.emit([row.path for row, image in thumbnails if image is not None])
        self._next()


def read_thumbnails(rows: Sequence[Row]) -> list[tuple[Row, QImage | None]]:
    """Return the thumbnails of image items; in a worker.

    Notes
    -----
    One GET for each of them, one after the other.
    """
    return [(row, _read_thumbnail(row)) for row in rows]


def _read_thumbnail(row: Row) -> QImage | None:
    try:
        image = decode_picture(thumbnail(row), SIDE_LENGTH)
    except Exception:  # noqa: BLE001 - after any error an icon is shown instead
        return None
    if not isinstance(image, QImage):
        return None
    mode = Qt.TransformationMode.SmoothTransformation
    return image.scaled(SIDE_LENGTH, SIDE_LENGTH, Qt.AspectRatioMode.KeepAspectRatio, mode)


def _undyed_icon(pixmap: QPixmap) -> QIcon:
    """Return an icon that Qt does not dye in a selected row."""
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon


def _may_have_thumbnail(row: Row) -> bool:
    if not row.is_item or row.state not in {"committed", "stale"} or row.kind not in {"image", "labels"}:
        return False
    return kind_of(row.name) != "picture" or (row.size is not None and row.size <= MAX_PNG_BYTES)


def _key(row: Row) -> IconKey:
    return row.url, row.node.version if row.node.record is not None else ""
