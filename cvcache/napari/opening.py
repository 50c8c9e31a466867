"""Opening what is typed: a tree, the tree of an item, or a place where something may come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from cvcache.browse.landing import Landing, cleaned, nothing_at
from cvcache.browse.words import line
from cvcache.napari.cells import sentence
from cvcache.napari.loading import open_tree
from cvcache.napari.panel import HOW

if TYPE_CHECKING:
    from cvcache.napari.dock import CacheTree

WAITING = "; waiting for it"


class Opening(QObject):
    """Leads an address into the tree of a dock."""

    def __init__(self, dock: CacheTree) -> None:
        super().__init__(dock)
        self._dock = dock
        self._awaited = ""
        self._said = ""

    def begin(self, url: str, storage_options: Mapping[str, Any] | None) -> None:
        """Open what is at `url` in the background; the tree before stays until then."""
        dock, url = self._dock, cleaned(url)
        options = dock.address.remembered.of(url) if storage_options is None else dict(storage_options)
        dock.address.show_url(url)
        dock.status.say(f"opening {line(url)}\N{HORIZONTAL ELLIPSIS}")
        dock.jobs.start(
            open_tree,
            url,
            options,
            dock.settings.memory,
            done=lambda found: self._opened(found, options),
            failed=self._not_opened,
            topic="open",
        )

    def came(self) -> None:
        """Remember the place that was waited for: there is something now."""
        if self._awaited:
            self._dock.address.history.add(self._awaited)
            self._dock.address.refill()
            self._dock.status.take_back(self._said)
            self._awaited = ""

    def _opened(self, found: Landing, options: Mapping[str, Any]) -> None:
        self._dock.show_tree(found.tree, found.top)
        url = found.tree.url
        self._awaited = url if found.absent else ""
        self._said = nothing_at(line(url), line(found.nearest)) + WAITING if found.absent else HOW
        self._dock.address.opened(url, options, remember=not found.absent)
        self._dock.status.say(self._said)
        if found.item:
            self._dock.reveal(found.item)
        self._dock.opened.emit(url)

    def _not_opened(self, error: Exception) -> None:
        self._dock.status.complain(sentence(error))
        self._dock.failed.emit(sentence(error))
