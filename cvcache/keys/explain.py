"""What differs between two keys, one readable line each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cvcache.keys.canonical import OPEN
from cvcache.keys.digest import CanonicalJson, dumps

__all__ = ["explain"]

FACTS = ("etag", "modified", "size")  # of what lies at a path or URL
WIDTH = 60  # characters of a value that explain() shows
_DIGEST = re.compile(r"\b([0-9a-f]{8})(?:[0-9a-f]{24}|[0-9a-f]{56})\b")


def explain(old: CanonicalJson, new: CanonicalJson) -> list[str]:
    """Return what differs between two canonical keys, one readable line each.

    Parameters
    ----------
    old, new : JSON-able
        Canonical forms; an `old` of None means that there was no key.

    Returns
    -------
    list of str
        Lines such as ``args.sigma: 4.0 -> 6.0``, ``args.mask: added`` and ``code: changed (helper smooth in
        pipeline)``, with digests cut to 8 characters; empty if the keys are equal.
    """
    if old is None and new is not None:
        return ["no key before"]
    return [line.removeprefix(".") for line in _changes("", old, new)]


def _changes(where: str, old: CanonicalJson, new: CanonicalJson) -> Iterator[str]:
    if dumps(old) == dumps(new):
        return
    before, after = _parts(old), _parts(new)
    if isinstance(old, dict) and isinstance(new, dict) and "uses" in old and "uses" in new:
        yield from (f"{where}: changed ({what})" for what in _code_changes(old, new))
    elif isinstance(old, dict) and isinstance(new, dict) and "$item" in old and old["$item"] == new.get("$item"):
        was, now = _versions(str(old["version"]), str(new["version"]))
        yield f"{where}: {old['$item']}: version {was} -> {now}"
    elif isinstance(old, dict) and isinstance(new, dict) and "$dask" in old and "$dask" in new:
        yield f"{where}: {_layer_change(old['layers'], new['layers'])}"
    elif facts := _facts(old, new):
        yield f"{where}: {facts}"
    elif before is None or after is None or before[0] != after[0]:
        yield f"{where or 'key'}: {_show(old)} -> {_show(new)}"
    else:
        for name in before[1] | after[1]:
            if name in before[1] and name in after[1]:
                yield from _changes(where + name, before[1][name], after[1][name])
            else:
                yield f"{where}{name}: {'added' if name in after[1] else 'removed'}"


def _layer_change(old: Any, new: Any) -> str:
    """Return which first layer of a dask graph differs; each comes after those it reads."""
    ours, theirs = [row for row in new if row not in old], [row for row in old if row not in new]
    if not ours and not theirs:
        return "chunks, dtype or the order of its parts"
    label = (ours or theirs)[0][0]
    what = "added" if label not in {row[0] for row in theirs} else "changed"
    return f"layer {label!r} {what if ours else 'removed'}"


def _facts(old: CanonicalJson, new: CanonicalJson) -> str:
    """Return what differs of what lies at a path or URL; nothing if it is another path, or none."""
    tag = next((tag for tag in ("$file", "$path", "$url") for form in (old, new) if _has(form, tag)), "")
    before, after = (form if isinstance(form, dict) and tag in form else {tag: form} for form in (old, new))
    if not tag or before[tag] != after[tag]:
        return ""
    names = [name for name in FACTS if name in before and name in after and before[name] != after[name]]
    lines = [f"{name} {before[name]} -> {after[name]}" for name in names]
    return f"{before[tag]}: {', '.join(lines) or f'{_fact(before)} -> {_fact(after)}'}"


def _fact(form: dict[str, CanonicalJson]) -> str:
    known = next((f"{name} {form[name]}" for name in FACTS if name in form), "")
    return known or ("not asked" if "$url" in form and "absent" not in form else "absent")


def _has(form: CanonicalJson, tag: str) -> bool:
    return isinstance(form, dict) and tag in form


def _versions(old: str, new: str) -> tuple[str, str]:
    """Return two versions in short, with the attempt of one that was forced where the keys are the same."""
    heads = [version.partition("+")[0][:8] for version in (old, new)]
    if heads[0] != heads[1]:
        return heads[0], heads[1]
    tails = [version.partition("+")[2][:8] for version in (old, new)]
    was, now = (f"{head}+{tail}" if tail else head for head, tail in zip(heads, tails, strict=True))
    return was, now


def _parts(form: CanonicalJson) -> tuple[str, dict[str, CanonicalJson]] | None:
    """Return the kind of a form and, by the way to each, what is inside; None if it is shown as a whole."""
    if isinstance(form, list):
        return "list", {f"[{i}]": part for i, part in enumerate(form)}
    if not isinstance(form, dict):
        return None
    tag = next((name for name in form if name.startswith("$")), "")
    if tag in {"$dict", "$OrderedDict", "$Counter"}:
        return tag, {f"[{_show(pair[0])}]": pair[1] for pair in form[tag]}  # type: ignore[index,union-attr]  # a pair, by tag
    if tag in OPEN:
        return tag, {"" if name == tag else f" {name}": part for name, part in form.items()}
    return None if tag else ("dict", {f".{name}": part for name, part in sorted(form.items())})


def _code_changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    yield from (
        f"{name} {_show(old.get(name))} -> {_show(new.get(name))}"
        for name in ("name", "source")
        if old.get(name) != new.get(name)
    )
    if old["ast"] != new["ast"]:
        yield "body"
    for label in sorted(old["uses"].keys() | new["uses"].keys()):
        module, _, name = label.rpartition(":")
        was, now = old["uses"].get(label), new["uses"].get(label)
        place = f"{name} in {module}" if module else name
        kind = "constant" if isinstance(was or now, dict) else "helper"
        if was is None or now is None:
            yield f"{kind} {place} {'added' if was is None else 'removed'}"
        elif isinstance(was, dict) and isinstance(now, dict):
            yield from (f"{kind} {line}" for line in _changes(place, was["value"], now["value"]))
        elif isinstance(was, dict) or isinstance(now, dict):
            yield f"{place} is now a {'constant' if isinstance(now, dict) else 'helper'}"
        elif was != now:
            yield f"{kind} {place}"


def _show(form: CanonicalJson) -> str:
    """Return a short text of a form: digests cut to 8 characters, common tags spelled as people do."""
    if isinstance(form, dict) and "$long" in form:
        return f"{form['$long']} of {form['len']} ({str(form['sha256'])[:8]})"
    if isinstance(form, dict) and "$ndarray" in form and "dtype" in form:
        return f"array {form['dtype']} {form['shape']} ({str(form['$ndarray'])[:8]})"
    if isinstance(form, dict) and len(form) == 1:
        ((tag, value),) = form.items()
        if tag == "$tuple" and isinstance(value, list) and len(shown := ", ".join(map(_show, value))) < WIDTH:
            return f"({shown}{',' * (len(value) == 1)})"
        form = form if isinstance(value, (dict, list)) or not tag.startswith("$") else value
    text = _DIGEST.sub(r"\1", form if isinstance(form, str) and _DIGEST.fullmatch(form) else dumps(form))
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
