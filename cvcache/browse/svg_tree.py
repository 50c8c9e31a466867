"""The parts of an SVG that are kept, what they name, and their text."""

from __future__ import annotations

import html
from collections.abc import Iterator

from cvcache.browse import svg_values as values
from cvcache.browse.words import lines

DEEPEST = 256

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
SHAPES = values.DASHED | {"text"}
GRADIENTS = frozenset({"linearGradient", "radialGradient"})


class Element:
    """One element that is kept."""

    __slots__ = ("attributes", "children", "font", "href", "name", "named", "stroke", "styles", "text_weight")

    def __init__(self, name: str) -> None:
        self.name = name
        self.attributes: dict[str, str] = {}
        self.styles: dict[str, str] = {}
        self.named: dict[str, str] = {}  # style -> the id it names
        self.href = ""
        self.children: list[Element | str] = []
        self.text_weight = 0
        self.stroke = self.font = 0.0

    def text(self) -> str:
        """Return the text that stands in it."""
        return "".join(child for child in self.children if isinstance(child, str))


class TooMuchError(ValueError):
    """The drawing is beyond what is shown."""


def resolve(root: Element, ids: dict[str, Element]) -> None:
    """Leave out references to what is not there or of the wrong kind."""
    for element in _all(root):
        if element.href and not element.href.startswith("data:"):
            target = ids.get(element.href)
            fits = target is not None and (element.name == "use" or target.name in GRADIENTS)
            element.href = element.href if fits and element.name in GRADIENTS | {"use"} else ""
        for style, reference in list(element.named.items()):
            target = ids.get(reference)
            if target is None or not _may_name(element, style, target):
                del element.named[style], element.styles[style]


def _may_name(element: Element, style: str, target: Element) -> bool:
    """Whether a style may name this part: a pattern only on what it is drawn in once, since what is inside inherits."""
    if style == "clip-path":
        return target.name == "clipPath"
    return target.name in GRADIENTS or (target.name == "pattern" and element.name in SHAPES)


def _all(root: Element) -> Iterator[Element]:
    pending = [root]
    while pending:
        element = pending.pop()
        yield element
        pending += [child for child in element.children if isinstance(child, Element)]


def spelled(element: Element) -> Iterator[str]:
    """Yield the text of an element and all inside it; at most `DEEPEST` deep."""
    outside = f' xmlns="{SVG}" xmlns:xlink="{XLINK}"' if element.name == "svg" else ""
    yield f"<{element.name}{outside}"
    told = dict(element.attributes)
    if element.styles:
        told["style"] = "; ".join(f"{name}: {value}" for name, value in element.styles.items())
    if element.href:
        told["xlink:href"] = element.href if element.name == "image" else f"#{element.href}"
    yield from (f' {name}="{html.escape(value)}"' for name, value in told.items())
    yield ">"
    if element.name == "style":
        yield html.escape(values.sheet(element.text()), quote=False)
    else:
        for child in element.children:
            if isinstance(child, str):
                yield html.escape(lines(child), quote=False)
            else:
                yield from spelled(child)
    yield f"</{element.name}>"
