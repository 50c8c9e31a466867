"""Explain why two keys differ, one readable line for each difference.

A key is canonical JSON, so each value has a tag instead of a type. Code, items, dask graphs and files have a line of
their own kind; tags in `NESTED_TAGS` and plain containers are compared part by part; all others are shown whole. That
is why the functions in `_COMPARE` depend on the tags that `cvcache.keys.canonical` and its neighbours write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from cvcache.keys.canonical import NESTED_TAGS
from cvcache.keys.digest import CanonicalJson, dumps

__all__ = ["key_differences"]

STAT_FIELDS = ("etag", "modified", "size")  # of the file at a path or URL
MAX_VALUE_LENGTH = 60  # characters of a value in a line
_DIGEST = re.compile(r"\b([0-9a-f]{8})(?:[0-9a-f]{24}|[0-9a-f]{56})\b")


def key_differences(old: CanonicalJson, new: CanonicalJson) -> list[str]:
    """Return the differences between two canonical keys, one readable line each.

    Parameters
    ----------
    old, new : JSON-able
        Canonical JSON; None for `old` means that there was no key.

    Returns
    -------
    list of str
        Lines such as ``args.sigma: 4.0 -> 6.0``, ``args.mask: added`` and ``code: changed (helper smooth in
        pipeline)``, with digests cut to 8 characters; empty if the keys are equal.
    """
    if old is None and new is not None:
        return ["no key before"]
    return [line.removeprefix(".") for line in _differences("", old, new)]


def _differences(path: str, old: CanonicalJson, new: CanonicalJson) -> Iterator[str]:
    if dumps(old) == dumps(new):
        return
    compare = next((_COMPARE[tag] for tag in _COMPARE if _has_tag(old, tag) and _has_tag(new, tag)), _stat_differences)
    if lines := compare(old, new):
        yield from (f"{path}: {line}" for line in lines)
        return
    (old_tag, old_parts), (new_tag, new_parts) = _parts(old), _parts(new)
    if old_tag != new_tag or not old_tag:
        yield f"{path or 'key'}: {_short_text(old)} -> {_short_text(new)}"
        return
    for name in old_parts | new_parts:
        if name in old_parts and name in new_parts:
            yield from _differences(path + name, old_parts[name], new_parts[name])
        else:
            yield f"{path}{name}: {'added' if name in new_parts else 'removed'}"


def _item_differences(old: Any, new: Any) -> list[str]:
    """Return the versions of one item; nothing for two items."""
    if old["$item"] != new["$item"]:
        return []
    old_version, new_version = _short_versions(str(old["version"]), str(new["version"]))
    return [f"{old['$item']}: version {old_version} -> {new_version}"]


def _layer_differences(old: Any, new: Any) -> list[str]:
    """Return the first layer of a dask graph that differs; layers are in the order of their dependencies."""
    new_rows = [row for row in new["layers"] if row not in old["layers"]]
    old_rows = [row for row in old["layers"] if row not in new["layers"]]
    if not new_rows and not old_rows:
        return ["chunks, dtype or the order of its parts"]
    label = (new_rows or old_rows)[0][0]
    what = "added" if label not in {row[0] for row in old_rows} else "changed"
    return [f"layer {label!r} {what if new_rows else 'removed'}"]


def _stat_differences(old: CanonicalJson, new: CanonicalJson) -> list[str]:
    """Return what differs in the stat fields of one path or URL; nothing for anything else."""
    tag = next((tag for tag in ("$file", "$path", "$url") for value in (old, new) if _has_tag(value, tag)), "")
    before, after = (value if isinstance(value, dict) and tag in value else {tag: value} for value in (old, new))
    if not tag or before[tag] != after[tag]:
        return []
    names = [name for name in STAT_FIELDS if name in before and name in after and before[name] != after[name]]
    lines = [f"{name} {before[name]} -> {after[name]}" for name in names]
    return [f"{before[tag]}: {', '.join(lines) or f'{_stat_text(before)} -> {_stat_text(after)}'}"]


def _stat_text(value: dict[str, CanonicalJson]) -> str:
    field_text = next((f"{name} {value[name]}" for name in STAT_FIELDS if name in value), "")
    return field_text or ("not asked" if "$url" in value and "absent" not in value else "absent")


def _has_tag(value: CanonicalJson, tag: str) -> bool:
    return isinstance(value, dict) and tag in value


def _short_versions(old: str, new: str) -> tuple[str, str]:
    """Return two versions in short: the digests of the keys, and if these are equal also the attempts."""
    digests = [version.partition("+")[0][:8] for version in (old, new)]
    if digests[0] != digests[1]:  # without a key there is no digest, only the attempt
        return digests[0] or old[:9], digests[1] or new[:9]
    attempts = [version.partition("+")[2][:8] for version in (old, new)]
    old_version, new_version = (
        f"{digest}+{attempt}" if attempt else digest for digest, attempt in zip(digests, attempts, strict=True)
    )
    return old_version, new_version


def _parts(value: Any) -> tuple[str, dict[str, CanonicalJson]]:
    """Return the tag of a value and its parts by their accessors; no tag if the value is shown whole."""
    if isinstance(value, list):
        return "list", {f"[{i}]": part for i, part in enumerate(value)}
    if not isinstance(value, dict):
        return "", {}
    tag = next((name for name in value if name.startswith("$")), "")
    if tag in {"$dict", "$OrderedDict", "$Counter"}:
        return tag, {f"[{_short_text(pair[0])}]": pair[1] for pair in value[tag]}
    if tag in NESTED_TAGS:
        return tag, {"" if name == tag else f" {name}": part for name, part in value.items()}
    return ("", {}) if tag else ("dict", {f".{name}": part for name, part in sorted(value.items())})


def _code_differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    if not {"ast", "uses"} <= old.keys() & new.keys():
        return  # a mapping with `uses` among its names
    yield from (
        f"{name} {_short_text(old.get(name))} -> {_short_text(new.get(name))}"
        for name in ("name", "source")
        if old.get(name) != new.get(name)
    )
    if old["ast"] != new["ast"]:
        yield "body"
    for label in sorted(old["uses"].keys() | new["uses"].keys()):
        yield from _use_differences(label, old["uses"].get(label), new["uses"].get(label))


def _use_differences(label: str, old: Any, new: Any) -> list[str]:
    """Return what differs between two uses of one name; None for a use that is not there."""
    module, _, name = label.rpartition(":")
    used_name = f"{name} in {module}" if module else name
    old_kind, new_kind = ("constant" if isinstance(use, dict) else "helper" for use in (old, new))
    if old is None:
        return [f"{new_kind} {used_name} added"]
    if new is None:
        return [f"{old_kind} {used_name} removed"]
    if old_kind != new_kind:
        return [f"{used_name} is now a {new_kind}"]
    if new_kind == "constant":
        return [f"constant {line}" for line in _differences(used_name, old["value"], new["value"])]
    return [f"helper {used_name}"] if old != new else []


def _short_text(value: CanonicalJson) -> str:
    """Return a short text for a value: digests cut to 8 characters, arrays and tuples without their tags."""
    match value:
        case {"$long": kind, "len": length, "sha256": content}:
            return f"{kind} of {length} ({str(content)[:8]})"
        case {"$ndarray": content, "dtype": dtype, "shape": shape}:
            return f"array {dtype} {shape} ({str(content)[:8]})"
        case {"$tuple": [*parts]} if len(items := ", ".join(map(_short_text, parts))) < MAX_VALUE_LENGTH:
            return f"({items}{',' * (len(parts) == 1)})"
    value = _without_tag(value)
    text = _DIGEST.sub(r"\1", value if isinstance(value, str) and _DIGEST.fullmatch(value) else dumps(value))
    return text if len(text) <= MAX_VALUE_LENGTH else text[: MAX_VALUE_LENGTH - 1] + "…"


def _without_tag(value: CanonicalJson) -> CanonicalJson:
    """Return the text or number in an object that has nothing but a tag and it; any other value as it is."""
    tag, content = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else ("", value)
    return content if tag.startswith("$") and not isinstance(content, (dict, list)) else value


_COMPARE: dict[str, Callable[[Any, Any], list[str]]] = {
    "uses": lambda old, new: [f"changed ({what})" for what in _code_differences(old, new)],
    "$item": _item_differences,
    "$dask": _layer_differences,
}
"""Tag that two values have in common -> function that returns their differences."""
