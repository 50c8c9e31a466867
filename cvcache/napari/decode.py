"""Pictures that were checked before, decoded away from the window."""

from __future__ import annotations

from qtpy.QtCore import QBuffer, QByteArray, QIODevice, QSize, Qt
from qtpy.QtGui import QImage, QImageReader

from cvcache.browse import MAX_PIXELS, Picture, Refused, plain_line

SIDE = 1600
"""Pixels of the longer side that a panel keeps, at most."""
MOST_SIDE = 4096
"""Pixels of the longer side of a picture that is shown in full."""


def decode(picture: Picture | Refused | None, side: int = SIDE) -> QImage | Refused | None:
    """Return the pixels of a checked picture, no side longer than `side`; runs in a worker.

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
    # Qt's own limit in bytes stands too, unless somebody switched it off for the whole process
    if not size.isValid() or size.width() * size.height() > MAX_PIXELS:
        return Refused("more pixels than are shown")
    if max(size.width(), size.height()) > side:
        # here and not with QImage.scaled, during which PyQt lets no other thread run
        reader.setScaledSize(size.scaled(side, side, Qt.AspectRatioMode.KeepAspectRatio).expandedTo(QSize(1, 1)))
    image = reader.read()
    return Refused(plain_line(f"Qt cannot draw it: {reader.errorString()}")) if image.isNull() else image
