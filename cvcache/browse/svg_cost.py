"""What it takes to draw an SVG, told before it is drawn: nobody can stop Qt once it has begun."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator

from cvcache.browse.svg_tree import SHAPES, Element, TooMuchError
from cvcache.browse.svg_values import NUMBER, box, largest, length

MOST_DRAWN = 64 << 20
"""Bytes of the drawing with each part counted as often as it is drawn, and a weight for each element."""
MOST_WORK = 5e9
"""Pixels that are painted when the drawing is `SIDE` wide and high; a few seconds of Qt's work."""
SIDE = 500.0
OUTLINE, THIN_OUTLINE = 700.0, 100.0
"""What a pixel of an outline costs: of a shape or a broad line, and of a thin line that is not filled."""
THIN = 2.0
TEXT_SIZE = 40.0
GRADIENT = 4.0
FARTHEST = 1e9
WEIGHT, TEXT_WEIGHT, PATTERN_WEIGHT = 256, 12 << 10, 64 << 10

_COMMAND = re.compile(r"([MmLlHhVvCcSsQqTtAaZz])([^MmLlHhVvCcSsQqTtAaZz]*)")
_COUNTS = {"m": 2, "l": 2, "h": 1, "v": 1, "c": 6, "s": 4, "q": 4, "t": 2, "a": 7}
_TRANSFORM = re.compile(r"(\w+)\s*\(([^)]*)\)")
_Cost = tuple[int, float, float]
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
        weight, area, outline = weight + more[0], area + more[1], outline + more[2]
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
    """Return about how many pixels an element is drawn on, in its own units, and the work of its outline."""
    if element.name in {"text", "tspan"}:
        letters = sum(len(child) for child in element.children if isinstance(child, str))
        size = max([TEXT_SIZE, *(largest(element.styles.get(name, "")) for name in ("font", "font-size"))])
        return letters * size * size, letters * size * 6 * OUTLINE
    if element.name not in SHAPES | {"image"}:
        return 0.0, 0.0
    # dashes are counted as far as they go
    wide, high, outline = _extent(element, FARTHEST if "stroke-dasharray" in element.styles else reach)
    stroke = length(element.styles.get("stroke-width")) or 1.0
    thin = element.styles.get("fill") == "none" and stroke <= THIN
    straight = element.name in {"rect", "image", "line"}
    work = outline * (stroke if straight else THIN_OUTLINE if thin else OUTLINE + stroke)
    shaded = GRADIENT if element.named else 1.0
    return shaded * min(wide + stroke, reach) * min(high + stroke, reach), work


def _extent(element: Element, reach: float) -> tuple[float, float, float]:
    """Return width, height and length of the outline of a shape, no line of it longer than `reach`."""

    def said(name: str) -> float:
        value = element.attributes.get(name)
        # what is told in parts of the whole is within reach
        return min(abs(length(value) or 0.0), reach) if value is None or "%" not in value else reach

    match element.name:
        case "rect" | "image":
            return said("width"), said("height"), 2 * (said("width") + said("height"))
        case "circle" | "ellipse":
            wide, high = 2 * (said("r") or said("rx")), 2 * (said("r") or said("ry"))
            return wide, high, _CURVED * (wide + high)
        case "line":
            places = [(said("x1"), said("y1")), (said("x2"), said("y2"))]
        case "polyline" | "polygon":
            numbers = [float(text) for text in NUMBER.findall(element.attributes.get("points", ""))]
            places = list(zip(numbers[::2], numbers[1::2], strict=False))
        case "path":
            places = list(_places(element.attributes.get("d", "")))
        case _:
            return 0.0, 0.0, 0.0
    if not places:
        return 0.0, 0.0, 0.0
    xs, ys = zip(*places, strict=True)
    outline = sum(min(abs(a[0] - b[0]), reach) + min(abs(a[1] - b[1]), reach) for a, b in itertools.pairwise(places))
    return max(xs) - min(xs), max(ys) - min(ys), outline


def _places(path: str) -> Iterator[tuple[float, float]]:
    """Yield the points of a path, those its curves bend to among them."""
    x = y = 0.0
    for command, said in _COMMAND.findall(path):
        numbers = [float(text) for text in NUMBER.findall(said)]
        kind, relative = command.lower(), command.islower()
        count = _COUNTS.get(kind, 1)
        for i in range(0, len(numbers) - count + 1, count):
            given = numbers[i : i + count]
            from_x, from_y = (x, y) if relative else (0.0, 0.0)
            if kind == "z":
                break
            if kind == "h":
                x = from_x + given[0]
            elif kind == "v":
                y = from_y + given[0]
            else:
                if kind == "a":
                    # an arc stays within its radius, or the distance it spans
                    reach = min(2 * max(given[:2]), 1e9) + abs(from_x + given[5] - x) + abs(from_y + given[6] - y)
                    yield from ((x - reach, y - reach), (x + reach, y + reach))
                else:
                    yield from ((from_x + given[k], from_y + given[k + 1]) for k in range(0, count - 2, 2))
                x, y = from_x + given[-2], from_y + given[-1]
            yield x, y


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
