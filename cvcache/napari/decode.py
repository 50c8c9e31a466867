"""Decoding of checked pictures, in a worker."""

from __future__ import annotations

from qtpy.QtCore import QBuffer, QByteArray, QIODevice, QSize, Qt
from qtpy.QtGui import QImage, QImageReader

from cvcache.browse import MAX_PIXELS, Picture, Refused, plain_line

PANEL_SIDE_LENGTH = 1600
"""Largest side in pixels of a picture in the panel."""
MAX_SIDE_LENGTH = 4096
"""Largest side in pixels of a picture in a window of its own."""


def decode_picture(picture: Picture | Refused | None, max_side: int = PANEL_SIDE_LENGTH) -> QImage | Refused | None:
    """Return the pixels of a checked picture, no side longer than `max_side`; for a worker.

    Notes
    -----
    No store call. As much memory as the picture has pixels, 64 million at most.
    """
    if not isinstance(picture, Picture):
        return picture
    data = QByteArray(picture.data)
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.ReadOnly)
    reader = QImageReader(buffer, QByteArray(b"png"))
    reader.setAutoDetectImageFormat(False)
    size = reader.size()
    # Qt has its own limit in bytes, unless it was switched off for the whole process
    if not size.isValid() or size.width() * size.height() > MAX_PIXELS:
        return Refused("more pixels than are shown")
    if max(size.width(), size.height()) > max_side:
        # not QImage.scaled, which holds the GIL in PyQt
        reader.setScaledSize(
            size.scaled(max_side, max_side, Qt.AspectRatioMode.KeepAspectRatio).expandedTo(QSize(1, 1))
        )
    image = reader.read()
    return Refused(plain_line(f"Qt cannot draw it: {reader.errorString()}")) if image.isNull() else image
