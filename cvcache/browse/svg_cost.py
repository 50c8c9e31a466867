"""What it takes to draw an SVG, told before it is drawn: nobody can stop Qt once it has begun."""

from __future__ import annotations

import itertools
import math
import re

from cvcache.browse.svg_tree import SHAPES, Element, TooMuchError
from cvcache.browse.svg_values import FONTS, NUMBER, box, largest, length, sheet_styles

MOST_DRAWN = 64 << 20
"""Bytes of the drawing with each part counted as often as it is drawn, and a weight for each element."""
MOST_WORK = 7e9
"""Nanoseconds of Qt's work on a drawing that is `SIDE` wide and high."""
SIDE = 800.0
PAINT, OUTLINE, POINT, CROSSING = 1.0, 60.0, 8.0, 4.0
"""What a pixel of an area takes, and one of an outline: more for each point of the shape, or where these are many for
each pixel it is wide, since Qt goes through the places where a row of pixels was crossed before."""
FEW_POINTS = 100
TEXT_SIZE, LETTER, LETTER_POINTS = 40.0, 6.0, 40
GRADIENT = 4.0
FARTHEST = 1e9
WEIGHT, TEXT_WEIGHT, PATTERN_WEIGHT = 256, 12 << 10, 64 << 10

_COMMAND = re.compile(r"([MmLlHhVvCcSsQqTtAaZz])([^MmLlHhVvCcSsQqTtAaZz]*)")
_COUNTS = {"m": 2, "l": 2, "h": 1, "v": 1, "c": 6, "s": 4, "q": 4, "t": 2, "a": 7}
_TRANSFORM = re.compile(r"(\w+)\s*\(([^)]*)\)")
_Cost = tuple[int, float, float]
_Place = tuple[float, float]
_CURVED = 4.0
"""What an outline of a curve takes, in lines of that length."""


def check_drawn(root: Element, ids: dict[str, Element]) -> None:
    """Raise where parts that are drawn again and again, or within themselves, or large, come to too much."""
    order = _order(root, ids)
    view = box(root.attributes.get("viewBox")) or (0.0, 0.0, 300.0, 150.0)
    least = {id(root): 1.0}
    for element in reversed(order):
        enlarged = least[id(element)] = least[id(element)] * _enlarged(element)
        for part in _parts(element, ids):
            least[id(part)] = min(least.get(id(part), math.inf), enlarged)
    _hand_down(order, ids)
    costs: dict[int, _Cost] = {}
    for element in order:
        # of what is larger than the picture wherever it is drawn, a part is not painted
        reach = min(2 * max(view[2:]) / math.sqrt(least[id(element)]), FARTHEST)
        cost = costs[id(element)] = _cost(element, ids, costs, reach)
        if cost[0] > MOST_DRAWN:
            raise TooMuchError("its parts are drawn too often")
    _, area, outline = costs[id(root)]
    per_pixel = SIDE / max(view[2:])
    if not area * per_pixel**2 + outline * per_pixel <= MOST_WORK:
        raise TooMuchError("it takes too long to draw")


def _hand_down(order: list[Element], ids: dict[str, Element]) -> None:
    """Tell each element how broad its lines and how high its letters are at most, by itself or by what it is in."""
    rules = [rule for element in order if element.name == "style" for rule in sheet_styles(element.text())]
    stroke = max([1.0, *(_broad(value) for name, value in rules if name == "stroke-width")])
    font = max([TEXT_SIZE, *(largest(value) for name, value in rules if name in FONTS)])
    for element in reversed(order):
        own = element.styles.get("stroke-width")
        element.stroke = max(stroke, element.stroke if own is None else _broad(own))
        said = [size for name in FONTS if (size := largest(element.styles.get(name, "")))]
        element.font = max(font, *(said or [element.font]))
        for part in _parts(element, ids):
            part.stroke, part.font = max(part.stroke, element.stroke), max(part.font, element.font)


def _broad(value: str) -> float:
    found = length(value)
    return largest(value) if found is None else found


def _order(root: Element, ids: dict[str, Element]) -> list[Element]:
    """Return all elements, each behind those it draws; raise for one that draws itself."""
    order: list[Element] = []
    begun: set[int] = set()
    ended: set[int] = set()
    pending = [(root, False)]
    while pending:
        element, counted = pending.pop()
        if counted:
            begun.discard(id(element))
            ended.add(id(element))
            order.append(element)
        elif id(element) in begun:
            raise TooMuchError("a part of it is drawn within itself")
        elif id(element) not in ended:
            begun.add(id(element))
            pending.append((element, True))
            pending += [(part, False) for part in _parts(element, ids)]
    return order


def _cost(element: Element, ids: dict[str, Element], costs: dict[int, _Cost], reach: float) -> _Cost:
    """Return what it takes to draw an element and all in it: bytes to go through, area and outline to paint."""
    area, outline = _painted(element, reach)
    weight = _weight(element, ids)
    for part in _parts(element, ids):
        more = costs[id(part)]
        weight += more[0]
        if part.name != "clipPath":  # which is not painted
            area, outline = area + more[1], outline + more[2]
    enlarged = _enlarged(element)
    return weight, area * enlarged, outline * math.sqrt(enlarged)


def _parts(element: Element, ids: dict[str, Element]) -> list[Element]:
    """Return what is drawn with an element: what it holds and what it names."""
    inside = [child for child in element.children if isinstance(child, Element)]
    named = [ids[reference] for reference in element.named.values()]
    return [*inside, *named, *([ids[element.href]] if element.href in ids else [])]


def _weight(element: Element, ids: dict[str, Element]) -> int:
    own = (*element.attributes.values(), *(child for child in element.children if isinstance(child, str)))
    patterns = sum(ids[reference].name == "pattern" for reference in element.named.values())
    text = TEXT_WEIGHT if element.name in {"text", "tspan"} else 0
    return WEIGHT + element.text_weight + text + patterns * PATTERN_WEIGHT + sum(map(len, own))


def _painted(element: Element, reach: float) -> tuple[float, float]:
    """Return the work of the areas of an element, and that of its outline, in its own units."""
    if element.name in {"text", "tspan"}:
        letters = sum(len(child) for child in element.children if isinstance(child, str))
        return PAINT * letters * element.font**2, (OUTLINE + POINT * LETTER_POINTS) * LETTER * letters * element.font
    if element.name not in SHAPES | {"image"}:
        return 0.0, 0.0
    # dashes are counted as far as they go
    wide, high, outline, points = _extent(element, FARTHEST if "stroke-dasharray" in element.styles else reach)
    wide, high = min(wide + element.stroke, reach), min(high + element.stroke, reach)
    shaded = not element.named.keys().isdisjoint({"fill", "stroke"})
    area = PAINT * (GRADIENT if shaded else 1.0) * wide * high
    if element.name in {"rect", "image", "line"}:
        return area, outline * element.stroke
    if points <= FEW_POINTS:
        return area, (OUTLINE + POINT * points) * outline
    return area + CROSSING * outline * wide, OUTLINE * outline


def _extent(element: Element, reach: float) -> tuple[float, float, float, int]:
    """Return width, height, length of the outline and number of points of a shape, no line longer than `reach`."""

    def said(name: str) -> float:
        value = element.attributes.get(name)
        # what is told in parts of the whole is within reach
        return min(abs(length(value) or 0.0), reach) if value is None or "%" not in value else reach

    match element.name:
        case "rect" | "image":
            return said("width"), said("height"), 2 * (said("width") + said("height")), 4
        case "circle" | "ellipse":
            wide, high = 2 * (said("r") or said("rx")), 2 * (said("r") or said("ry"))
            return wide, high, _CURVED * (wide + high), 12
        case "line":
            lines = [[(said("x1"), said("y1")), (said("x2"), said("y2"))]]
        case "polyline" | "polygon":
            numbers = [float(text) for text in NUMBER.findall(element.attributes.get("points", ""))]
            lines = [list(zip(numbers[::2], numbers[1::2], strict=False))]
        case "path":
            lines = _lines(element.attributes.get("d", ""))
        case _:
            return 0.0, 0.0, 0.0, 0
    places = [place for line in lines for place in line]
    if not places:
        return 0.0, 0.0, 0.0, 0
    xs, ys = zip(*places, strict=True)
    # what is filled is closed
    steps = (pair for line in lines for pair in itertools.pairwise([*line, *line[:1]]))
    outline = sum(min(abs(a[0] - b[0]), reach) + min(abs(a[1] - b[1]), reach) for a, b in steps)
    return max(xs) - min(xs), max(ys) - min(ys), outline, len(places)


def _lines(path: str) -> list[list[_Place]]:
    """Return the points of each part of a path that is drawn in one go, those its curves bend to among them."""
    lines: list[list[_Place]] = [[(0.0, 0.0)]]
    for command, said in _COMMAND.findall(path):
        numbers = [float(text) for text in NUMBER.findall(said)]
        kind, count = command.lower(), _COUNTS.get(command.lower(), 1)
        if kind == "z":
            lines.append(lines[-1][:1])
            continue
        for i in range(0, len(numbers) - count + 1, count):
            places = _reached(kind, numbers[i : i + count], lines[-1][-1], relative=command.islower())
            if kind == "m" and not i:
                lines.append([])
            lines[-1] += places
    return [line for line in lines if len(line) > 1]


def _reached(kind: str, given: list[float], last: _Place, *, relative: bool) -> list[_Place]:
    """Return the points that one command of a path leads to, the last one at last."""
    from_x, from_y = last if relative else (0.0, 0.0)
    if kind == "h":
        return [(from_x + given[0], last[1])]
    if kind == "v":
        return [(last[0], from_y + given[0])]
    x, y = from_x + given[-2], from_y + given[-1]
    if kind == "a":
        # an arc stays within its radius, or the distance it spans
        reach = min(2 * max(given[:2]), 1e9) + abs(x - last[0]) + abs(y - last[1])
        return [(last[0] - reach, last[1] - reach), (last[0] + reach, last[1] + reach), (x, y)]
    return [*((from_x + given[k], from_y + given[k + 1]) for k in range(0, len(given) - 2, 2)), (x, y)]


def _enlarged(element: Element) -> float:
    """Return how many times larger an area is once the element's transformations are applied, at most."""
    factor = 1.0
    for name in ("transform", "patternTransform"):
        for kind, said in _TRANSFORM.findall(element.attributes.get(name, "")):
            numbers = [abs(float(text)) for text in NUMBER.findall(said)] or [0.0]
            if kind == "scale":
                factor *= numbers[0] * numbers[-1]
            elif kind == "matrix":
                factor *= sum(numbers[0:3:2]) * sum(numbers[1:4:2])
            elif kind in {"skewX", "skewY"}:
                factor *= 1 + abs(math.tan(math.radians(min(numbers[0], 89.0))))
    return min(max(factor, 1e-12), 1e12)
