"""Each link of the built site that stays in it must lead to a file that is there, and to a place on its page."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class Page(HTMLParser):
    """The links of a page, and the places on it that a link can lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.places = {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what the tag names."""
        named = dict(attrs)
        self.links |= {named[name] or "" for name in ("href", "src", "data") if name in named and tag != "base"}
        self.places |= {named["id"] or "" for _ in [0] if "id" in named}


def broken(site: Path) -> Iterator[str]:
    """Yield a line for each link of a site that leads nowhere."""
    paths = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in paths}
    for path, page in pages.items():
        for link in sorted(page.links):
            where = urlsplit(link)
            if where.scheme or where.netloc:
                continue
            target = (path.parent / unquote(where.path)).resolve() if where.path else path
            if not target.is_file():
                yield f"{path.relative_to(site)} links to {link}, which is not there"
            elif target in pages and unquote(where.fragment) not in pages[target].places:
                yield f"{path.relative_to(site)} links to {link}, and that page has no such place"


def check(app: Sphinx, error: Exception | None) -> None:
    """Warn of links that lead nowhere."""
    from sphinx.util import logging

    if error is None and app.builder.name == "html":
        logger = logging.getLogger(__name__)
        for line in broken(Path(app.outdir).resolve()):
            logger.warning(line)


def setup(app: Sphinx) -> dict[str, bool]:
    """Say to Sphinx what is here."""
    app.connect("build-finished", check, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
