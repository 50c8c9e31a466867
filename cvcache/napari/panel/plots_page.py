"""All plots of a node, one below the other; a click shows one in full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QWidget

from cvcache.browse import Refused, Row, has_picture, picture, plain_line
from cvcache.napari.decode import MAX_SIDE_LENGTH, decode_picture
from cvcache.napari.panel.page import Page, Selection, items_of, known_items, may_have_item
from cvcache.napari.panel.picture_view import PictureView, PictureWindow
from cvcache.napari.panel.widgets import MARGIN, SPACING, ElidedLabel, MessageLabel, column_layout, scroll_area

if TYPE_CHECKING:
    from cvcache.napari.jobs import Jobs

MAX_PLOTS = 40


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot: its item, and its pixels or why there are none."""

    row: Row
    image: QImage | None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Plots:
    """The plots of the page, and the number of those left out."""

    plots: tuple[Plot, ...]
    omitted: int = 0


def _is_plot(name: str, kind: object) -> bool:
    return kind == "plot" or has_picture(name)  # a foreign picture is shown like a plot


def _read_plot(row: Row) -> Plot:
    image = decode_picture(picture(row))
    if isinstance(image, Refused):
        return Plot(row, None, plain_line(f"Not shown: {image.text}", 400))
    return Plot(row, image, "" if image is not None else "Only PNG, SVG and PDF are shown here.")


class PlotsPage(Page):
    """The plots of the selected node, or of the node of the selected item."""

    title = "Plots"

    def __init__(self, jobs: Jobs, parent: QWidget | None = None) -> None:
        super().__init__(jobs, parent)
        body = QWidget()
        self._list = column_layout(body, MARGIN)
        self._list.setSpacing(2 * MARGIN)
        self.more = MessageLabel()
        self._list.addWidget(self.more)
        self._list.addStretch(1)
        self.views: list[PlotView] = []
        self.windows: list[PictureWindow] = []
        self.area = scroll_area(body)
        column_layout(self.content).addWidget(self.area)

    def has_content(self, selection: Selection) -> bool:
        """Whether the node has a plot, or may have one."""
        return may_have_item(selection, _is_plot)

    def empty_text(self, selection: Selection) -> str:
        """Return why there are no plots."""
        return "No plots were kept here." if selection.single else "Select one line to see its plots."

    def read_content(self, selection: Selection) -> Plots:
        """Read and decode the plots, the selected one first."""
        row, node = selection.single, selection.node
        if row is None or node is None:
            return Plots(())
        first = [row] if row.is_item and _is_plot(row.name, row.kind) else []
        items = [item for item in items_of(node) if _is_plot(item.name, item.kind) and item.path != row.path]
        plots = [*first, *sorted(items, key=lambda item: item.kind != "plot")]
        return Plots(tuple(_read_plot(item) for item in plots[:MAX_PLOTS]), max(0, len(plots) - MAX_PLOTS))

    def show_content(self, selection: Selection, content: Plots) -> str:
        """Show the plots; views are reused."""
        if not content.plots:
            node = selection.node
            return "No plots yet." if node is not None and known_items(node) is None else self.empty_text(selection)
        while len(self.views) < len(content.plots):
            self.views.append(PlotView(self))
            self._list.insertWidget(len(self.views) - 1, self.views[-1])
        for i, view in enumerate(self.views):
            view.show_plot(content.plots[i] if i < len(content.plots) else None)
        self.more.set_text(f"{content.omitted} more plots are left out." if content.omitted else "")
        if self.shown_paths != selection.paths:
            self.area.verticalScrollBar().setValue(0)
        return ""

    def show_full(self, row: Row) -> None:
        """Show one plot in a window of its own, decoded again in full size."""
        self.jobs.start(
            lambda: decode_picture(picture(row), MAX_SIDE_LENGTH),
            done=lambda image: self._open(row, image),
            topic=f"panel full {id(self)}",
        )

    def close_windows(self) -> None:
        """Close the windows that were opened from here."""
        for window in list(self.windows):
            window.close()

    def _open(self, row: Row, image: QImage | Refused | None) -> None:
        if not isinstance(image, QImage):
            return
        window = PictureWindow(f"{row.name} \N{EM DASH} {row.node.url}", image, self.window())
        self.windows.append(window)
        window.destroyed.connect(lambda: self.windows.remove(window) if window in self.windows else None)
        window.show()


class PlotView(QWidget):
    """One plot and its name."""

    def __init__(self, page: PlotsPage) -> None:
        super().__init__()
        self._page = page
        self.plot: Plot | None = None
        self.view = PictureView()
        self.view.setCursor(Qt.CursorShape.PointingHandCursor)
        self.view.setToolTip("Click to see it in full")
        self.view.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.view.clicked.connect(self._clicked)
        self.caption = ElidedLabel(Qt.AlignmentFlag.AlignHCenter)
        self.refused = MessageLabel()
        layout = column_layout(self)
        layout.setSpacing(SPACING)
        for part in (self.view, self.refused, self.caption):
            layout.addWidget(part)
        layout.addStretch(1)

    def show_plot(self, plot: Plot | None) -> None:
        """Show another plot, or none."""
        self.plot = plot
        self.view.show_image(plot.image if plot and plot.image is not None else QImage(), grow=1)
        self.refused.set_text(plot.refused if plot else "")
        self.refused.setVisible(bool(plot and plot.refused))
        self.caption.set_text(plain_line(plot.row.name, 200) if plot else "")
        self.setVisible(plot is not None)

    def _clicked(self) -> None:
        if self.plot is not None:
            self._page.show_full(self.plot.row)
