"""Public names in the text, as `cdir_init` or `cvcache.plan()`, lead to their docstrings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

import cvcache

if TYPE_CHECKING:
    from sphinx.application import Sphinx

NAME = re.compile(r"(?:cvcache\.)?(\w+)(?:\(.*\))?", re.DOTALL)


class LinkedNames(SphinxPostTransform):
    """Link code in the text that is a public name or a call of it."""

    default_priority = 500

    def run(self, **_: Any) -> None:
        """Link the names of one page."""
        python = self.env.domains["py"]
        for literal in list(self.document.findall(nodes.literal)):
            found = NAME.fullmatch(literal.astext())
            if not found or isinstance(literal.parent, (nodes.reference, nodes.title)):
                continue
            if found[1] not in cvcache.__all__ or ("xref" in literal["classes"] and found[1].islower()):
                continue  # in a docstring `plan` may be a parameter
            if place := python.objects.get(f"cvcache.{found[1]}"):
                link = make_refnode(
                    self.app.builder, self.env.docname, place.docname, place.node_id, literal.deepcopy(), found[1]
                )
                literal.replace_self(link)


def setup(app: Sphinx) -> dict[str, bool]:
    """Say to Sphinx what is here."""
    app.add_post_transform(LinkedNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
