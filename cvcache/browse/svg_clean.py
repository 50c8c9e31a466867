"""SVG of strangers: taken apart and put together again from what a drawing that stands still is made of."""

from __future__ import annotations

import base64
import binascii
from xml.parsers import expat

from cvcache.browse import svg_values as values
from cvcache.browse.png_check import MOST_PIXELS, Picture, Refused, check_png
from cvcache.browse.svg_cost import check_drawn
from cvcache.browse.svg_tree import (
    DEEPEST,
    GRADIENTS,
    SHAPES,
    SVG,
    XLINK,
    Element,
    TooMuchError,
    resolve,
    spelled,
)
from cvcache.browse.words import line
from cvcache.show import size_text

MOST_BYTES = 8 << 20
MOST_ELEMENTS = 50_000
MOST_TEXT = 256 << 10
MOST_DASHED = 2 << 20
"""Bytes of a drawing beyond which lines are drawn without dashes."""
LONGEST_SIDE = 8192
MOST_FONTS = 64
"""Fonts that are looked for: each takes a while."""

XML = "http://www.w3.org/XML/1998/namespace"
GROUPS = {"a": "g", "switch": "g", "svg": "g"}
"""Elements that only hold others, and what stands in their place."""
ELEMENTS = SHAPES | {"g", "defs", "symbol", "use", "image", "tspan", "style", "clipPath", "pattern", "stop"}
SPEAKING = frozenset({"text", "tspan", "style"})
_COPIED = values.GEOMETRY | values.PLAIN


def clean_svg(data: bytes) -> Picture | Refused:
    """Return a drawing without scripts, animations and anything that is not in it, or why it is refused.

    Kept are shapes, text, gradients, patterns, clip paths, references to parts of the same drawing, and pictures that
    lie in it as PNG, each checked by `check_png`. What a part costs that is drawn again and again is counted first.
    """
    if len(data) > MOST_BYTES:
        return Refused(f"an SVG of {size_text(len(data))}, more than the {size_text(MOST_BYTES)} that are shown")
    reader = _Reader(dashes=len(data) <= MOST_DASHED)
    try:
        reader.read(data)
        if reader.root is None:
            return Refused("no SVG that can be shown: it has no drawing")
        width, height = _size(reader.root)
        resolve(reader.root, reader.ids)
        check_drawn(reader.root, reader.ids)
    except (expat.ExpatError, ValueError, LookupError) as error:  # LookupError: an encoding nobody knows
        return Refused(line(f"no SVG that can be shown: {error}"))
    text = "".join(spelled(reader.root))
    return Picture("svg", text.encode("utf-8", "replace"), width, height)


class _Reader:
    """Takes an SVG apart."""

    def __init__(self, *, dashes: bool) -> None:
        self.root: Element | None = None
        self.ids: dict[str, Element] = {}
        self._dashes = dashes
        self._open: list[Element] = []
        self._left_out = 0  # elements open inside one that is left out
        self._fonts: set[str] = set()
        self._count = self._text = self._pixels = 0

    def read(self, data: bytes) -> None:
        """Parse `data`; raise for what is no XML, declares entities or is too much."""
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._say
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = self._entity
        parser.SkippedEntityHandler = self._entity
        parser.Parse(data, True)  # noqa: FBT003 - expat takes it by position

    def _doctype(self, name: str, system: str | None, public: str | None, inside: int) -> None:  # noqa: ARG002 - as expat calls it
        if inside:
            raise TooMuchError("it declares a grammar of its own")

    def _entity(self, *_: object) -> None:
        raise TooMuchError("it declares or names entities")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MOST_ELEMENTS:
            raise TooMuchError(f"it has more than {MOST_ELEMENTS} elements")
        if len(self._open) + self._left_out >= DEEPEST:
            raise TooMuchError(f"it is nested more than {DEEPEST} deep")
        element = None if self._left_out else self._element(name, attributes)
        if element is None:
            self._left_out += 1
            return
        if self._open:
            self._open[-1].children.append(element)
        self._open.append(element)
        if found := element.attributes.get("id"):
            self.ids.setdefault(found, element)

    def _end(self, _: str) -> None:
        if self._left_out:
            self._left_out -= 1
        else:
            self._open.pop()

    def _say(self, text: str) -> None:
        if self._left_out or not self._open or self._open[-1].name not in SPEAKING:
            return
        self._text += len(text)
        if self._text > MOST_TEXT:
            raise TooMuchError(f"it has more than {size_text(MOST_TEXT)} of text")
        self._open[-1].children.append(text)

    def _element(self, full: str, attributes: dict[str, str]) -> Element | None:
        """Return the element with what is kept of it; None where it is left out with all inside."""
        space, _, name = full.rpartition(" ")
        if self.root is None:
            if name != "svg" or space not in {SVG, ""}:
                raise TooMuchError("it is another kind of XML")
            self.root = element = Element("svg")
        else:
            name = GROUPS.get(name, name)
            if space not in {SVG, ""} or name not in ELEMENTS | GRADIENTS:
                return None
            element = Element(name)
        for attribute, value in attributes.items():
            if not self._attribute(element, attribute, value):
                return None
        self._limit_styles(element)
        if element.name in {"use", "image"} and not element.href:
            return None
        return element

    def _limit_styles(self, element: Element) -> None:
        """Leave out what would take long: dashes without end, fonts in great number."""
        # a shape alone tells how many dashes it takes
        if not (self._dashes and values.dashes_fit(element.name, element.attributes)):
            element.styles.pop("stroke-dasharray", None)
        for name, value in list(element.styles.items()):
            if name in {"font", "font-family"}:
                self._fonts.add(value)
            if name.startswith("font") and len(self._fonts) > MOST_FONTS:
                del element.styles[name]

    def _attribute(self, element: Element, full: str, value: str) -> bool:
        """Keep an attribute or leave it out; False where its element has to be left out."""
        space, _, name = full.rpartition(" ")
        if name == "href" and space in {XLINK, ""}:
            element.href = self._embedded(element, value) if element.name == "image" else values.reference(value) or ""
        elif name == "style" and not space:
            for style, said in values.declarations(value):
                _add_style(element, style, said)
        elif name in values.STYLES and not space:
            if name not in element.styles:  # what is said in `style` goes first
                _add_style(element, name, value)
        elif name in values.GEOMETRY and not space and values.is_far_out(value):
            return element.name == "svg"
        elif name == "space" if space == XML else not space and name in _COPIED:
            name = "xml:space" if space else name
            kept = values.geometry(name, value) if name in values.GEOMETRY else values.word(name, value)
            if kept is not None:
                element.attributes[name] = kept
        return True

    def _embedded(self, element: Element, value: str) -> str:
        """Return a PNG that lies in the drawing, checked; nothing for any other."""
        head, _, body = value.partition(",")
        if head.replace(" ", "").lower() != "data:image/png;base64":
            return ""
        try:
            found = check_png(base64.b64decode("".join(body.split()), validate=True))
        except binascii.Error:
            return ""
        if isinstance(found, Refused):
            return ""
        self._pixels += found.width * found.height
        if self._pixels > MOST_PIXELS:
            raise TooMuchError(f"it holds pictures of more than {MOST_PIXELS} pixels")
        element.text_weight = found.width * found.height // 4
        return f"data:image/png;base64,{base64.b64encode(found.data).decode()}"


def _add_style(element: Element, name: str, value: str) -> None:
    if found := values.style(name, value):
        element.styles[name], reference = found
        element.named.pop(name, None)
        if reference:
            element.named[name] = reference


def _size(root: Element) -> tuple[int, int]:
    """Return the size the drawing asks for, within what is shown, and make the drawing say the same."""
    given = values.box(root.attributes.get("viewBox"))
    wide, high = (values.length(root.attributes.get(name)) for name in ("width", "height"))
    width, height = wide or (given[2] if given else 300.0), high or (given[3] if given else 150.0)
    width, height = (min(max(side, 1.0), 1e7) for side in (width, height))
    shown = given or (0.0, 0.0, width, height)
    factor = min(1.0, LONGEST_SIDE / max(width, height))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    root.attributes.update(viewBox=" ".join(f"{n:.9g}" for n in shown), width=str(size[0]), height=str(size[1]))
    return size
