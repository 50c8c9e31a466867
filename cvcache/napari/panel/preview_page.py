"""What a row looks like, and what is recorded of it; of two rows what differs, of many a list."""

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
from cvcache.napari.decode import decode
from cvcache.napari.panel.facts_view import FactsView
from cvcache.napari.panel.histogram_view import HistogramView
from cvcache.napari.panel.page import Page, Shown, items_of
from cvcache.napari.panel.picture_view import PictureView
from cvcache.napari.panel.text_view import TextView
from cvcache.napari.panel.widgets import SMALL, ElidedLabel, Sentence, column, scrolled

TALLEST, TALLEST_NARROW = 300, 190
WIDE = 560
"""Pixels from which on the picture stands beside the facts."""
MOST_LISTED = 50
_TEXTS = (".json", ".yaml", ".yml", ".txt", ".text", ".md", ".log", ".html", ".htm", ".ipynb", ".ref", ".toml", ".xml")
_TEXT_KINDS = {"json", "text", "log", "html", "notebook", "yaml"}


@dataclass(frozen=True, slots=True)
class Sight:
    """What one row looks like."""

    caption: str
    image: QImage | None
    refused: str


@dataclass(frozen=True, slots=True)
class Preview:
    """Everything that the page shows."""

    sights: tuple[Sight, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    columns: bool = True
    histograms: tuple[Histogram, ...] = ()
    text: str = ""


def preview_of(shown: Shown) -> Preview:
    """Return what is to be seen of the selected rows; for a worker.

    Notes
    -----
    Of one row what `facts` costs, and one GET for its picture or text; of two rows that for each; of more none.
    """
    if shown.one is not None:
        return _of_one(shown.one)
    if len(shown.rows) == 2:  # noqa: PLR2004 - a pair is compared
        return _of_two(*shown.rows)
    return _of_many(shown.rows)


def _of_one(row: Row) -> Preview:
    found = _main_image(row)
    sight = _sight(found, "" if row.is_item else found.name) if found is not None else None
    sights = (sight,) if sight is not None and (sight.image is not None or sight.refused) else ()
    drawn = () if found is None else histogram(found)
    text = text_head(row) if row.is_item and (row.kind in _TEXT_KINDS or row.name.endswith(_TEXTS)) else ""
    return Preview(sights, facts(row), histograms=drawn, text=text)


def _of_two(a: Row, b: Row) -> Preview:
    sights = [_sight(_main_image(row), plain_line(row.path or row.url, 200)) for row in (a, b)]
    found = difference(a, b)
    title = f"{len(found)} differences, first to second" if len(found) > 1 else "one difference, first to second"
    told = (title if found else "", "\n".join(found) or "Nothing that is recorded of them differs.")
    return Preview(tuple(sights), (told,), columns=False)


def _of_many(rows: tuple[Row, ...]) -> Preview:
    sizes = [row.size for row in rows if row.size is not None]
    listed = [(plain_line(row.path or row.url, 200), _short(row)) for row in rows[:MOST_LISTED]]
    left = len(rows) - len(listed)
    more = [("", f"and {left:,} more")] if left else []
    return Preview(facts=(("together", f"{len(rows):,} rows, {size_text(sum(sizes))}"), *listed, *more))


def _short(row: Row) -> str:
    shape = shape_text({"shape": list(row.shape)}) if row.shape else ""
    said = (row.state, row.kind if row.is_item else "", shape, plain_line(row.dtype, 40), size_text(row.size))
    return ", ".join(part for part in said if part)


def _main_image(row: Row) -> Row | None:
    """Return the item that stands for a row: of a node its first image, else its labels, a picture, or a plot."""
    if row.is_item:
        return row
    try:
        items = items_of(row)
    except READ_ERRORS:
        return None
    ranks = {"image": 0, "labels": 1, "plot": 2}
    seen = [item for item in items if item.kind in ranks]
    return min(seen, key=lambda item: ("levels" not in item.meta, ranks[item.kind], item.name), default=None)


def _sight(item: Row | None, caption: str) -> Sight:
    found = None if item is None else thumbnail(item) or picture(item)
    image = decode(found)
    if isinstance(image, Refused):
        return Sight(caption, None, plain_line(f"No picture: {image.text}", 400))
    return Sight(caption, image, "")


class PreviewPage(Page):
    """The picture, the facts, the histogram, the text."""

    title = "Preview"

    def __init__(self, jobs: Any, parent: QWidget | None = None) -> None:
        super().__init__(jobs, parent)
        self.sights = (SightView(), SightView())
        self.histogram = HistogramView()
        self.facts = FactsView()
        self.text = TextView()
        self._lay_out()

    def _lay_out(self) -> None:
        pictures = QHBoxLayout()
        pictures.setSpacing(SMALL)
        for view in self.sights:
            pictures.addWidget(view, 1)
        seen = QWidget()
        seen.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        left = column(seen)
        left.addLayout(pictures)
        left.addWidget(self.histogram)
        left.addStretch(1)
        told = QWidget()
        right = column(told)
        right.addWidget(self.facts)
        right.addWidget(self.text)
        right.addStretch(1)
        self._seen = seen
        body = QWidget()
        self._split = QBoxLayout(QBoxLayout.Direction.TopToBottom, body)
        self._split.setContentsMargins(SMALL, SMALL, SMALL, SMALL)
        self._split.setSpacing(SMALL)
        self._split.addWidget(seen, 2)
        self._split.addWidget(told, 3)
        self.area = scrolled(body)
        column(self.content).addWidget(self.area)

    def resizeEvent(self, event: Any) -> None:
        """Put the picture beside the facts where there is room."""
        super().resizeEvent(event)
        wide = self.width() >= WIDE
        self._split.setDirection(QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom)
        for view in self.sights:
            view.view.set_tallest(TALLEST if wide else TALLEST_NARROW)
        self._split.setStretch(0, 2 if wide else 0)
        self._split.setStretch(1, 3 if wide else 1)

    def offers(self, shown: Shown) -> bool:
        """Everything has a preview."""
        return bool(shown.rows)

    def nothing(self, shown: Shown) -> str:  # noqa: ARG002 - the sentence is the same for all
        """Say how to begin."""
        return "Select a line of the tree to see what it holds."

    def collect(self, shown: Shown) -> Preview:
        """Read it."""
        return preview_of(shown)

    def present(self, shown: Shown, found: Preview) -> str:
        """Show it."""
        other = self.holds != shown.paths
        for i, view in enumerate(self.sights):
            view.show_sight(found.sights[i] if i < len(found.sights) else None)
        self.histogram.show_histograms(found.histograms)
        self._seen.setVisible(bool(found.sights or found.histograms))
        self.facts.show_facts(found.facts, columns=found.columns)
        self.text.show_text(found.text)
        self.text.setVisible(bool(found.text))
        if other:
            self.area.verticalScrollBar().setValue(0)
        return ""


class SightView(QWidget):
    """One picture, what it is of below it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view = PictureView(TALLEST)
        self.refused = Sentence()
        self.caption = ElidedLabel(Qt.AlignmentFlag.AlignHCenter)
        layout = column(self)
        layout.addWidget(self.view)
        layout.addWidget(self.refused)
        layout.addWidget(self.caption)
        layout.addStretch(1)

    def show_sight(self, sight: Sight | None) -> None:
        """Show another picture, or none."""
        self.view.show_image(sight.image if sight and sight.image is not None else QImage())
        self.refused.set_text(sight.refused if sight else "")
        self.refused.setVisible(bool(sight and sight.refused))
        self.caption.set_text(sight.caption if sight else "")
        self.caption.setVisible(bool(sight and sight.caption))
        self.setVisible(sight is not None)
