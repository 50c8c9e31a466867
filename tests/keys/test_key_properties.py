"""No two unequal values share a key; equal ones do, in other processes, for other hash seeds and other Pythons."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
from typing import Any

import key_cases
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from interpreters import path_of_cvcache

from cvcache.keys import canonical_key, digest

TEXTS = st.text(max_size=6) | st.sampled_from(
    ["", "1", "x.tif", "a/b", "doi://x", "$tuple", "$dict", "$long", "$ndarray", "sha256", "\ud800", "é"]
)
NUMBERS = st.integers() | st.sampled_from([2**63, -(2**63), 2**63 - 1]) | st.floats() | st.booleans()
DTYPES = st.sampled_from(["u1", "<i4", ">i4", "f4", "f8", "?", "c8", "M8[s]", "U2", "S2"])
SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    dtype, shape = np.dtype(draw(DTYPES)), draw(SHAPES)
    count = int(np.prod(shape))
    array = np.asarray(draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)), "i8").reshape(shape)
    made = array.astype(dtype)
    return draw(st.sampled_from([made, np.asfortranarray(made), made.T, made[(slice(None, None, -1),) * made.ndim]]))


LEAVES = st.none() | NUMBERS | TEXTS | st.binary(max_size=4) | arrays() | arrays().map(lambda a: a.dtype)
LEAVES |= arrays().filter(lambda a: a.size > 0).map(lambda a: a.flat[0])
KEYS = TEXTS | st.integers(0, 2) | st.tuples(st.integers(0, 1), TEXTS)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.builds(functools.partial, st.sampled_from([max, min]), inner)
        | inner.map(canonical_key)
    ),
    max_leaves=8,
)


def told(value: Any) -> Any:
    """Return a text that two values share exactly if they are equal in value and type, made without `cvcache`."""
    kind = type(value).__name__
    if isinstance(value, np.ndarray):
        little = value.astype(value.dtype.newbyteorder("<"))
        return kind, little.dtype.str, little.shape, little.tobytes()
    if isinstance(value, np.generic):
        return kind, value.dtype.str, value.tobytes()
    if isinstance(value, np.dtype):
        return "dtype", value.str
    if isinstance(value, (list, tuple)):
        return kind, tuple(map(told, value))
    if isinstance(value, dict):
        return kind, frozenset((told(k), told(v)) for k, v in value.items())
    if isinstance(value, functools.partial):
        return kind, value.func.__name__, told(value.args)
    return kind, repr(value)


QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@QUIET
@given(VALUES, VALUES)
def test_two_values_share_a_key_exactly_if_they_are_equal(a: object, b: object) -> None:
    assert (digest(canonical_key(a)) == digest(canonical_key(b))) == (told(a) == told(b))


@settings(QUIET, max_examples=30, phases=[Phase.generate])
@given(st.lists(VALUES, min_size=30, max_size=60))
def test_no_two_of_many_values_share_a_key(values: list[object]) -> None:
    keys: dict[str, object] = {}
    for value in values:
        assert told(keys.setdefault(digest(canonical_key(value)), value)) == told(value)


@QUIET
@given(VALUES)
def test_a_key_survives_json(value: object) -> None:
    form = canonical_key(value)
    assert digest(json.loads(json.dumps(form))) == digest(form)


def run(python: str, seed: int, *, only: str = "", path: str = "") -> dict[str, str]:
    """Return the digest of every case in another process."""
    paths = os.pathsep.join(filter(None, [str(pathlib.Path(key_cases.__file__).parent), path]))
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [python, key_cases.__file__, only], env=environment, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_many_values_have_the_same_key_in_another_process_with_another_hash_seed() -> None:
    here = key_cases.digests()
    assert len(here) > 400
    seeds = random.Random(7)
    assert run(sys.executable, seeds.randrange(2**32)) == here == run(sys.executable, seeds.randrange(2**32))


def other_python() -> str:
    """Return a Python 3.13 that runs, or skip."""
    places = [*pathlib.Path.home().glob(".pyenv/versions/3.13*/bin/python"), shutil.which("python3.13")]
    for place in filter(None, places):
        if not subprocess.run([place, "-c", ""], capture_output=True, check=False).returncode:
            return str(place)
    pytest.skip("there is no Python 3.13 on this machine to compare with")


def test_plain_values_items_and_code_have_the_same_key_in_another_python(tmp_path: pathlib.Path) -> None:
    here = key_cases.digests()
    there = run(other_python(), 5, only="plain", path=path_of_cvcache(tmp_path))
    assert there == {name: here[name] for name in there}
    assert len(there) > 300
    assert {name.partition(" ")[0] for name in there} >= {"plain", "item", "code"}


def test_numpy_values_have_the_same_key_in_another_python(tmp_path: pathlib.Path) -> None:
    python, folder = other_python(), str(tmp_path / "site-packages")
    command = ["uv", "pip", "install", "-q", "--python", python, "--target", folder, "numpy", "blake3"]
    in_ci = bool(os.environ.get("CVCACHE_CI"))
    if shutil.which("uv") is None:
        command = [python, "-m", "pip", "install", "-q", "--target", folder, "numpy", "blake3"]
    elif not in_ci:
        command.append("--offline")  # what uv has already
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and not in_ci:
        pytest.skip("there is a Python 3.13, but no numpy and blake3 for it on this machine")
    assert not done.returncode, done.stderr
    assert run(python, 6, path=os.pathsep.join([folder, path_of_cvcache(tmp_path)])) == key_cases.digests()
