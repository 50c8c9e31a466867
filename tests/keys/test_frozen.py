"""What a key says of cvcache's own objects: the same from version to version, whichever module a class is in."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest

import cvcache
from cvcache import testing
from cvcache.keys import canonical_key, digest, dumps

ROOT = cvcache.cdir("memory://frozen/run")
ITEM = ROOT["x.json"]
NOWHERE = cvcache.cdir(None)


@cvcache.step
def inner(out: cvcache.CacheDir, x: int) -> None:
    out.write("x.json", x)


@cvcache.step
async def inner_later(out: cvcache.CacheDir, x: int) -> None:
    out.write("x.json", x)


bound = functools.partial(inner, x=1)


def calls_a_step(out: cvcache.CacheDir) -> Any:
    return inner(out / "inner", 1)


def calls_an_async_step(out: cvcache.CacheDir) -> Any:
    return inner_later(out / "inner", 1)


def calls_a_bound_step(out: cvcache.CacheDir) -> Any:
    return bound(out / "inner")


def names_a_node() -> Any:
    return ROOT / "other"


def names_an_item() -> Any:
    return ITEM


def names_no_cache() -> Any:
    return NOWHERE / "x"


def opens_an_image(url: str) -> Any:
    return cvcache.open_image(url)


def lays_a_tree(url: str) -> Any:
    return testing.lay_tree(url, 1, 1)


FROZEN = {
    calls_a_step: "82d4e9f593b13d5120755a6147f8c17f",
    calls_an_async_step: "c67f2a31b03a78f5aeeb258280c291b0",
    calls_a_bound_step: "0b184f8c8f1c3abaa8465ae06e64f717",
    names_a_node: "bb64c8dd133050bbda31ad41190d68c0",
    names_an_item: "de114bdcbff3a3f8847fb8f8d17ebe50",
    names_no_cache: "8c9d1c4255a37904860b6935e8850c8d",
    opens_an_image: "1a4b022eab718ab5bae45376ad6d0f01",
    lays_a_tree: "5201664089a73de1758bc34a2201a3e8",
}


@pytest.mark.parametrize("function", FROZEN, ids=lambda function: function.__name__)
def test_a_key_is_what_it_was(function: Any) -> None:
    assert digest(canonical_key(function)) == FROZEN[function]


@pytest.mark.parametrize("value", [inner, inner_later, bound, cvcache.CacheDir, cvcache.Item, cvcache.open_image])
def test_no_key_names_a_module_of_cvcache(value: object) -> None:
    assert not re.findall(r"cvcache\.\w+\.", dumps(canonical_key(value)))
