"""The small pictures of the images in sight, read in workers and kept as icons."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap

from cvcache.browse import Row, thumbnail
from cvcache.napari.decode import decode
from cvcache.napari.jobs import Jobs

SIDE = 36
"""Pixels of the longer side: twice what is shown, for screens of high density."""
MOST_KEPT = 2000
MOST_OF_A_JOB, MOST_JOBS = 4, 3
BIGGEST = 2 << 20
"""Bytes of a PNG that is its own small picture."""

Key = tuple[str, str]


class Thumbnails(QObject):
    """Icons of image items.

    Signals
    -------
    came : paths of the rows whose pictures are there now.
    """

    came = Signal(object)

    def __init__(self, jobs: Jobs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.on = True
        self._jobs = jobs
        self._icons: OrderedDict[Key, QIcon | None] = OrderedDict()
        self._under_way: set[Key] = set()
        self._busy = 0
        self._seen: list[Row] = []

    def icon(self, row: Row) -> QIcon | None:
        """Return the picture of an item, where it has been read."""
        return self._icons.get(_key(row)) if self.on and _may_have_one(row) else None

    def look(self, rows: Iterable[Row]) -> None:
        """Read the pictures of those of these rows that have one; all others asked for before are not wanted."""
        wanted = [row for row in rows if _may_have_one(row)] if self.on else []
        self._seen = [row for row in wanted if _key(row) not in self._icons and _key(row) not in self._under_way]
        self._next()

    def clear(self) -> None:
        """Forget all."""
        self._icons.clear()
        self._seen.clear()

    def _next(self) -> None:
        while self._seen and self._busy < MOST_JOBS:
            now, self._seen = self._seen[:MOST_OF_A_JOB], self._seen[MOST_OF_A_JOB:]
            self._busy += 1
            self._under_way.update(map(_key, now))
            self._jobs.start(read_small, now, done=self._read)

    def _read(self, found: Sequence[tuple[Row, QImage | None]]) -> None:
        self._busy -= 1
        self._under_way.difference_update(_key(row) for row, _ in found)
        for row, image in found:
            self._icons[_key(row)] = _undyed(QPixmap.fromImage(image)) if image is not None else None
        while len(self._icons) > MOST_KEPT:
            self._icons.popitem(last=False)
        self.came.emit([row.path for row, image in found if image is not None])
        self._next()


def read_small(rows: Sequence[Row]) -> list[tuple[Row, QImage | None]]:
    """Return the small pictures of image items; in a worker.

    Notes
    -----
    One GET for each of them, one after the other.
    """
    return [(row, _small(row)) for row in rows]


def _small(row: Row) -> QImage | None:
    try:
        image = decode(thumbnail(row), SIDE)
    except Exception:  # noqa: BLE001 - of whatever is wrong with it there is no small picture, and an icon in its place
        return None
    if not isinstance(image, QImage):
        return None
    mode = Qt.TransformationMode.SmoothTransformation
    return image.scaled(SIDE, SIDE, Qt.AspectRatioMode.KeepAspectRatio, mode)


def _undyed(pixmap: QPixmap) -> QIcon:
    """Return an icon that looks the same in a selected row."""
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon


def _may_have_one(row: Row) -> bool:
    if not row.is_item or row.state not in {"committed", "stale"} or row.kind not in {"image", "labels"}:
        return False
    return not row.name.endswith(".png") or (row.size is not None and row.size <= BIGGEST)


def _key(row: Row) -> Key:
    return row.url, row.node.version if row.node.record() is not None else ""
