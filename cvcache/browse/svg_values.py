"""Attributes and styles of an SVG that are let through: those of a drawing that stands still and needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

GEOMETRY = frozenset(
    (
        *("x", "y", "width", "height", "cx", "cy", "r", "rx", "ry", "x1", "y1", "x2", "y2", "d", "points", "dx"),
        *("dy", "rotate", "fx", "fy", "fr", "offset", "transform", "viewBox", "gradientTransform"),
        *("patternTransform"),
    )
)
PLAIN = frozenset(
    (
        *("preserveAspectRatio", "gradientUnits", "spreadMethod", "clipPathUnits", "patternUnits"),
        *("patternContentUnits", "class", "id", "textLength", "lengthAdjust"),
    )
)
STYLES = frozenset(
    (
        *("fill", "fill-rule", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-linecap"),
        *("stroke-linejoin", "stroke-miterlimit", "stroke-dasharray", "stroke-dashoffset", "opacity", "color"),
        *("stop-color", "stop-opacity", "clip-path", "clip-rule", "display", "visibility", "font", "font-family"),
        *("font-size", "font-style", "font-weight", "font-variant", "font-stretch", "text-anchor", "text-align"),
        *("text-decoration", "letter-spacing", "word-spacing", "dominant-baseline", "baseline-shift"),
        *("white-space", "vector-effect", "shape-rendering", "text-rendering", "image-rendering", "overflow"),
    )
)
REFERRING = frozenset({"fill", "stroke", "clip-path"})
"""Styles that may name a part of the same drawing."""
DASHED = frozenset({"path", "rect", "circle", "ellipse", "line", "polyline", "polygon"})

LONGEST_VALUE = 4096
MOST_RULES = 200
LONGEST_SHEET = 64 << 10
LEAST_DASH = 1.0
MOST_DASHES = 64
FONTS = ("font", "font-size")

_LONG = frozenset({"d", "points", "x", "y", "dx", "dy", "rotate"})
_COLORED = frozenset({"fill", "stroke", "color", "stop-color"})
_FUNCTION = re.compile(r"([\w-]*)\s*\(")
_FUNCTIONS = frozenset({"rgb", "rgba", "hsl", "hsla", "matrix", "translate", "scale", "rotate", "skewx", "skewy"})
_STRANGE = re.compile(r"[<>@\\{}&\x00-\x08]|/\*")
_OWN_URL = re.compile(r"url\(\s*['\"]?#([\w.:-]{1,200})['\"]?\s*\)")
_ID = re.compile(r"[\w.:-]{1,200}")
_HUGE = re.compile(r"(?<![\d.])\d{8}|[eE]\+?0*(?:[7-9]|[1-9]\d)")
"""Numbers from ten million on: no picture has such a place, and to draw a dash or a curve up to there takes long."""
_FAR = re.compile(r"(?<![\d.])\d{6}|[eE]\+?0*[1-9]")
_WIDE = re.compile(r"(?<![\d.])\d{5}|[eE]\+?0*[1-9]")
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_RULE = re.compile(r"([^{}]{1,400})\{([^{}]*)\}")
_SELECTOR = re.compile(r"[\w\s.,#*>-]+")


def is_far_out(value: str) -> bool:
    """Whether geometry has a number that belongs into no picture."""
    return _HUGE.search(value) is not None


def geometry(name: str, value: str) -> str | None:
    """Return a geometric attribute, or None for what is none."""
    longest = len(value) if name in _LONG else LONGEST_VALUE
    return value if len(value) <= longest and _is_harmless(value) else None


def reference(value: str) -> str | None:
    """Return the id that a link leads to, if that is in the same drawing."""
    value = value.strip()
    return value[1:] if value[:1] == "#" and _ID.fullmatch(value[1:]) else None


def word(name: str, value: str) -> str | None:
    """Return an attribute of one or a few words; of an id, one that can be named."""
    if name == "id" and not _ID.fullmatch(value):
        return None
    return value if len(value) <= LONGEST_VALUE and _is_harmless(value) else None


def style(name: str, value: str) -> tuple[str, str | None] | None:
    """Return one style as (value, id it names), or None for one that is not let through."""
    if len(value) > LONGEST_VALUE or name not in STYLES:
        return None
    value = re.sub(r"\s*!\s*important\s*$", "", value.strip())
    if "url" in value.lower():
        found = _OWN_URL.match(value)
        return (f"url(#{found[1]})", found[1]) if found and name in REFERRING else None
    if not _is_harmless(value) or (name not in _COLORED and _WIDE.search(value)):
        return None
    if name == "stroke-dasharray" and not _is_fair_dash(value):
        return None
    return value, None


def declarations(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of each declaration of a ``style`` attribute or of a rule."""
    for part in text.split(";"):
        name, colon, value = part.partition(":")
        if colon:
            yield name.strip().lower(), value


def sheet(text: str) -> str:
    """Return the rules of a style sheet that are let through, none with a reference."""
    rules = (f"{selector}{{{'; '.join(map(': '.join, said))}}}" for selector, said in _rules(text))
    return "\n".join(rules)


def sheet_styles(text: str) -> list[tuple[str, str]]:
    """Return name and value of each style that a style sheet gives to whatever it is for."""
    return [style for _, said in _rules(text) for style in said]


def _rules(text: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    text = re.sub(r"/\*.*?\*/", " ", text[:LONGEST_SHEET], flags=re.DOTALL)
    if len(text) >= LONGEST_SHEET or "@" in text or "\\" in text:
        return
    for selector, body in _RULE.findall(text)[:MOST_RULES]:
        kept = [(name, style(name, value)) for name, value in declarations(body)]
        said = [(name, found[0]) for name, found in kept if found and not found[1] and name != "stroke-dasharray"]
        if said and _SELECTOR.fullmatch(selector):
            yield selector.strip(), said


def dashes_fit(name: str, attributes: dict[str, str]) -> bool:
    """Whether dashes on this element are few enough to be drawn: of a shape that does not lead far out."""
    places = (value for key, value in attributes.items() if key in GEOMETRY)
    return name in DASHED and not any(_FAR.search(value) for value in places)


def largest(value: str) -> float:
    """Return the largest number in a style; 0 if it has none."""
    return max((abs(float(text)) for text in NUMBER.findall(value)), default=0.0)


def length(value: str | None) -> float | None:
    """Return a length in pixels; None for a percentage, or none."""
    match = re.fullmatch(rf"\s*({NUMBER.pattern})\s*(px|pt|pc|mm|cm|in|)\s*", value or "")
    if match is None:
        return None
    per_unit = {"": 1, "px": 1, "pt": 96 / 72, "pc": 16, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96}
    return float(match[1]) * per_unit[match[2]]


def box(value: str | None) -> tuple[float, ...] | None:
    """Return the four numbers of a view box, or None."""
    found = tuple(map(float, NUMBER.findall(value or "")[:5])) if len(value or "") < LONGEST_VALUE else ()
    fits = len(found) == 4 and found[2] > 0 and found[3] > 0 and not is_far_out(value or "")  # noqa: PLR2004 - a corner and an extent
    return found if fits else None


def _is_harmless(value: str) -> bool:
    """Whether there is no reference and no call in a value but of colours and transformations."""
    if _STRANGE.search(value) or "script" in value.lower() or "expression" in value.lower():
        return False
    return "(" not in value or all(name.lower() in _FUNCTIONS for name in _FUNCTION.findall(value))


def _is_fair_dash(value: str) -> bool:
    numbers = [float(text) for text in NUMBER.findall(value)]
    total = sum(numbers)
    return value.strip() == "none" or (len(numbers) <= MOST_DASHES and total >= LEAST_DASH and min(numbers) >= 0)
