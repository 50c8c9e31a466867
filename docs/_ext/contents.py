"""What lies below which page, told by the Markdown itself: a README has below it what its list names.

On the first page it is `sections` of conf.py; that page is also ``index.html``.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.errors import ConfigError

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FIRST_LINK = re.compile(r"^\* \[[^\]]*\]\(([^)#:]+)\)", re.MULTILINE)
WITHOUT = {"docs/README"}
"""Pages that link to what lies below others."""


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Append the table of contents of a page, hidden, to its text."""
    if page == app.config.root_doc:
        below = app.config.sections
    elif page.endswith("/README") and page not in WITHOUT:
        below = FIRST_LINK.findall(source[0])
    else:
        return
    source[0] += "\n".join(["", "```{toctree}", ":hidden:", "", *below, "```", ""])


def copy_first_page(app: Sphinx, error: Exception | None) -> None:
    """Let the site open with its first page."""
    if error is None and app.builder.name == "html":
        shutil.copy(Path(app.outdir, f"{app.config.root_doc}.html"), Path(app.outdir, "index.html"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Say to Sphinx what is here."""
    if Path(app.srcdir) != Path(app.confdir).parent:
        msg = "the pages are found from the top of the repository: sphinx-build -c docs . docs/_build/html"
        raise ConfigError(msg)
    app.add_config_value("sections", [], "env")
    app.connect("source-read", add_contents)
    app.connect("build-finished", copy_first_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
