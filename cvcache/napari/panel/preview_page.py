"""The preview page: picture and facts of one row, the difference of two rows, a list of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QBoxLayout, QHBoxLayout, QSizePolicy, QWidget

from cvcache.browse import (
    READ_ERRORS,
    Histogram,
    Refused,
    Row,
    difference,
    facts,
    histogram,
    picture,
    plain_line,
    shape_text,
    size_text,
    text_head,
    thumbnail,
)
from cvcache.formats import kind_of
from cvcache.napari.decode import decode_picture
from cvcache.napari.panel.facts_view import FactsView
from cvcache.napari.panel.histogram_view import HistogramView
from cvcache.napari.panel.page import Page, Selection, items_of
from cvcache.napari.panel.picture_view import PictureView
from cvcache.napari.panel.text_view import TextView
from cvcache.napari.panel.widgets import MARGIN, ElidedLabel, MessageLabel, column_layout, scroll_area

MAX_HEIGHT, MAX_HEIGHT_NARROW = 300, 190
WIDE_LAYOUT = 560
"""Width in pixels from which on the picture is beside the facts."""
MAX_LISTED = 50
_TEXT_KINDS = {"json", "text", "log", "notebook", "link"}


@dataclass(frozen=True, slots=True)
class RowPicture:
    """The picture of one row, or why there is none."""

    caption: str
    image: QImage | None
    refused: str


@dataclass(frozen=True, slots=True)
class Preview:
    """The content of the page."""

    pictures: tuple[RowPicture, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    columns: bool = True
    histograms: tuple[Histogram, ...] = ()
    text: str = ""


def preview_of(selection: Selection) -> Preview:
    """Return the preview of the selected rows; for a worker.

    Notes
    -----
    For one row the cost of `facts`, and one GET for its picture or text; for two rows the same for each; for more none.
    """
    if selection.single is not None:
        return _of_one(selection.single)
    if len(selection.rows) == 2:  # noqa: PLR2004 - a pair is compared
        return _of_two(*selection.rows)
    return _of_many(selection.rows)


def _of_one(row: Row) -> Preview:
    image_row = _main_image(row)
    row_picture = _read_picture(image_row, "" if row.is_item else image_row.name) if image_row is not None else None
    pictures = (
        (row_picture,) if row_picture is not None and (row_picture.image is not None or row_picture.refused) else ()
    )
    histograms = () if image_row is None else histogram(image_row)
    text = text_head(row) if row.is_item and _TEXT_KINDS & {row.kind, kind_of(row.name)} else ""
    return Preview(pictures, facts(row), histograms=histograms, text=text)


def _of_two(a: Row, b: Row) -> Preview:
    pictures = [_read_picture(_main_image(row), plain_line(row.path or row.url, 200)) for row in (a, b)]
    lines = difference(a, b)
    title = f"{len(lines)} differences, first to second" if len(lines) > 1 else "one difference, first to second"
    differences = (title if lines else "", "\n".join(lines) or "Nothing that is recorded of them differs.")
    return Preview(tuple(pictures), (differences,), columns=False)


def _of_many(rows: tuple[Row, ...]) -> Preview:
    sizes = [row.size for row in rows if row.size is not None]
    listed = [(plain_line(row.path or row.url, 200), _short(row)) for row in rows[:MAX_LISTED]]
    left = len(rows) - len(listed)
    more = [("", f"and {left:,} more")] if left else []
    return Preview(facts=(("together", f"{len(rows):,} rows, {size_text(sum(sizes))}"), *listed, *more))


def _short(row: Row) -> str:
    shape = shape_text({"shape": list(row.shape)}) if row.shape else ""
    parts = (row.state_text, row.kind if row.is_item else "", shape, plain_line(row.dtype, 40), size_text(row.size))
    return ", ".join(part for part in parts if part)


def _main_image(row: Row) -> Row | None:
    """Return the item whose picture is shown for a row: of a node its first image, else labels, else a plot."""
    if row.is_item:
        return row
    try:
        items = items_of(row)
    except READ_ERRORS:
        return None
    ranks = {"image": 0, "labels": 1, "plot": 2}
    candidates = [item for item in items if item.kind in ranks]
    return min(candidates, key=lambda item: ("levels" not in item.meta, ranks[item.kind], item.name), default=None)


def _read_picture(item: Row | None, caption: str) -> RowPicture:
    image = decode_picture(None if item is None else thumbnail(item) or picture(item))
    if isinstance(image, Refused):
        return RowPicture(caption, None, plain_line(f"No picture: {image.text}", 400))
    return RowPicture(caption, image, "")


class PreviewPage(Page):
    """The page with picture, facts, histogram and text."""

    title = "Preview"

    def __init__(self, jobs: Any, parent: QWidget | None = None) -> None:
        super().__init__(jobs, parent)
        self.pictures = (RowPictureView(), RowPictureView())
        self.histogram = HistogramView()
        self.facts = FactsView()
        self.text = TextView()
        self._lay_out()

    def _lay_out(self) -> None:
        pictures = QHBoxLayout()
        pictures.setSpacing(MARGIN)
        for view in self.pictures:
            pictures.addWidget(view, 1)
        picture_column = QWidget()
        picture_column.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        left = column_layout(picture_column)
        left.addLayout(pictures)
        left.addWidget(self.histogram)
        left.addStretch(1)
        text_column = QWidget()
        right = column_layout(text_column)
        right.addWidget(self.facts)
        right.addWidget(self.text)
        right.addStretch(1)
        self._picture_column = picture_column
        body = QWidget()
        self._split = QBoxLayout(QBoxLayout.Direction.TopToBottom, body)
        self._split.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        self._split.setSpacing(MARGIN)
        self._split.addWidget(picture_column, 2)
        self._split.addWidget(text_column, 3)
        self.area = scroll_area(body)
        column_layout(self.content).addWidget(self.area)

    def resizeEvent(self, event: Any) -> None:
        """Put the picture beside the facts if there is room."""
        super().resizeEvent(event)
        wide = self.width() >= WIDE_LAYOUT
        self._split.setDirection(QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom)
        for view in self.pictures:
            view.view.set_max_height(MAX_HEIGHT if wide else MAX_HEIGHT_NARROW)
        self._split.setStretch(0, 2 if wide else 0)
        self._split.setStretch(1, 3 if wide else 1)

    def has_content(self, selection: Selection) -> bool:
        """Whether any row is selected."""
        return bool(selection.rows)

    def empty_text(self, selection: Selection) -> str:  # noqa: ARG002 - the sentence is the same for all
        """Return how to begin."""
        return "Select a line of the tree to see what it holds."

    def read_content(self, selection: Selection) -> Preview:
        """Read the preview."""
        return preview_of(selection)

    def show_content(self, selection: Selection, content: Preview) -> str:
        """Show the preview."""
        other = self.shown_paths != selection.paths
        for i, view in enumerate(self.pictures):
            view.show_picture(content.pictures[i] if i < len(content.pictures) else None)
        self.histogram.show_histograms(content.histograms)
        self._picture_column.setVisible(bool(content.pictures or content.histograms))
        self.facts.show_facts(content.facts, columns=content.columns)
        self.text.show_text(content.text)
        self.text.setVisible(bool(content.text))
        if other:
            self.area.verticalScrollBar().setValue(0)
        return ""


class RowPictureView(QWidget):
    """One picture with its caption below."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view = PictureView(MAX_HEIGHT)
        self.refused = MessageLabel()
        self.caption = ElidedLabel(Qt.AlignmentFlag.AlignHCenter)
        layout = column_layout(self)
        layout.addWidget(self.view)
        layout.addWidget(self.refused)
        layout.addWidget(self.caption)
        layout.addStretch(1)

    def show_picture(self, row_picture: RowPicture | None) -> None:
        """Show another picture, or none."""
        self.view.show_image(row_picture.image if row_picture and row_picture.image is not None else QImage())
        self.refused.set_text(row_picture.refused if row_picture else "")
        self.refused.setVisible(bool(row_picture and row_picture.refused))
        self.caption.set_text(row_picture.caption if row_picture else "")
        self.caption.setVisible(bool(row_picture and row_picture.caption))
        self.setVisible(row_picture is not None)
