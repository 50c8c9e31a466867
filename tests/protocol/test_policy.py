"""Policies: what a call says, else the policy, else the environment, else the default."""

from __future__ import annotations

import dataclasses
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cvcache
from cvcache import NodeBusy, NodeStale, Policy, UsageError, cdir, cdir_init
from cvcache.node import address_of

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULTS: dict[str, Any] = {
    "ttl": 60.0,
    "wait": True,
    "on_stale": "recompute",
    "keep_old": True,
    "exclusive": "auto",
    "retries": 5,
    "request_timeout": 10.0,
    "record_host": True,
}
FLAGS = ("wait", "keep_old", "record_host")
API = Path(__file__).parent.parent.parent / "docs" / "reference" / "api.md"


def variable(field: str) -> str:
    return f"CVCACHE_{field.upper()}"


def policy_with(field: str, text: str, **given: Any) -> Policy:
    """Return a policy that is made where the variable of a field says `text`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable(field), text)
        return Policy(**given)


def test_every_plain_field_has_a_variable() -> None:
    plain = [field.name for field in dataclasses.fields(Policy) if field.name not in {"clock", "sleep"}]
    assert plain == list(DEFAULTS)
    assert {name: getattr(Policy(), name) for name in plain} == DEFAULTS


def test_the_reference_lists_fields_defaults_and_variables() -> None:
    table = re.findall(r'^\| `(\w+)` \| "?([\w.]+)"? \| `(CVCACHE_\w+)` \|', API.read_text(), re.MULTILINE)
    assert table == [(name, f"{default:g}" if type(default) is float else str(default), variable(name))
                     for name, default in DEFAULTS.items()]  # fmt: skip


SAID = {
    "ttl": ("30", 30.0),
    "wait": ("0", False),
    "on_stale": ("error", "error"),
    "keep_old": ("No", False),
    "exclusive": ("none", "none"),
    "retries": ("0", 0),
    "request_timeout": ("0", 0.0),
    "record_host": ("OFF", False),
}


@pytest.mark.parametrize("field", DEFAULTS)
def test_a_variable_says_its_field_and_no_other(field: str) -> None:
    text, value = SAID[field]
    policy = policy_with(field, text)
    said = getattr(policy, field)
    assert (said, type(said)) == (value, type(DEFAULTS[field]))
    assert policy == dataclasses.replace(Policy(), **{field: value})


@pytest.mark.parametrize("field", DEFAULTS)
def test_what_the_code_says_wins(field: str) -> None:
    assert policy_with(field, SAID[field][0], **{field: DEFAULTS[field]}) == Policy()
    assert policy_with(field, "nonsense", **{field: DEFAULTS[field]}) == Policy()


def test_a_field_that_the_code_leaves_out_is_the_environments() -> None:
    assert policy_with("wait", "0", ttl=30) == Policy(ttl=30, wait=False)


@pytest.mark.parametrize("text", ["", "  "])
@pytest.mark.parametrize("field", DEFAULTS)
def test_an_empty_variable_is_none(field: str, text: str) -> None:
    assert policy_with(field, text) == Policy()


@given(st.sampled_from(FLAGS), st.sampled_from(["1", "0", "true", "false", "yes", "no", "on", "off"]), st.data())
def test_flags_in_any_case(field: str, word: str, data: st.DataObject) -> None:
    text = "".join(data.draw(st.sampled_from([letter.lower(), letter.upper()])) for letter in word)
    assert getattr(policy_with(field, f" {text} "), field) is (word in {"1", "true", "yes", "on"})


@given(st.floats(min_value=0, exclude_min=True, max_value=1e9, exclude_max=True))
def test_numbers_come_back(seconds: float) -> None:
    assert policy_with("ttl", repr(seconds)).ttl == seconds
    assert policy_with("request_timeout", repr(seconds)).request_timeout == seconds
    assert policy_with("retries", str(int(seconds))).retries == int(seconds)


TAKES = {
    "ttl": "a positive number of seconds",
    "wait": "True or False",
    "on_stale": "one of recompute, error, new",
    "keep_old": "True or False",
    "exclusive": "one of auto, none",
    "retries": "a whole number, 0 or more",
    "request_timeout": "a number of seconds, 0 or more",
    "record_host": "True or False",
}
NUMBERS = ("ttl", "retries", "request_timeout")
REFUSED = [
    *((field, text) for field in NUMBERS for text in ("soon", "nan", "inf", "-inf", "-1", "1e9", "5s", "1,5")),
    ("ttl", "0"),
    ("retries", "1.5"),
    *((field, text) for field in FLAGS for text in ("maybe", "2", "-1", "y", "none")),
    *((field, text) for field in ("on_stale", "exclusive") for text in ("Error", "eror", "1", "false")),
]


@pytest.mark.parametrize(("field", "text"), REFUSED)
def test_what_a_variable_does_not_take_is_said(field: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"{variable(field)} is {TAKES[field]}.*not .*{text.removesuffix('e9')}"):
        policy_with(field, text)


@given(st.sampled_from(sorted(DEFAULTS)), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
def test_any_text_is_a_value_or_a_usage_error(field: str, text: str) -> None:
    try:
        policy = policy_with(field, text)
    except UsageError as error:
        assert variable(field) in str(error)  # noqa: PT017 - either is right
    else:
        assert type(getattr(policy, field)) is type(DEFAULTS[field])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ttl", 0), ("ttl", float("nan")), ("ttl", float("inf")), ("ttl", "60"), ("ttl", True), ("ttl", 10**400),
        ("wait", "no"), ("wait", None), ("keep_old", "0"), ("record_host", 2),
        ("on_stale", "recompte"), ("on_stale", None), ("on_stale", ["new"]), ("exclusive", "nobody"),
        ("retries", -1), ("retries", 1.0), ("retries", "1"),
        ("request_timeout", -0.1), ("request_timeout", None), ("request_timeout", float("nan")),
    ],
)  # fmt: skip
def test_what_a_field_does_not_take_is_said(field: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"^{field} is {TAKES[field]}"):
        Policy(**{field: value})  # type: ignore[arg-type]  # as users call it


def test_a_misspelt_choice_is_told_the_right_one() -> None:
    with pytest.raises(UsageError, match=r"CVCACHE_ON_STALE .*did you mean 'recompute'"):
        policy_with("on_stale", "recompte")
    with pytest.raises(UsageError, match=r"exclusive .*did you mean 'none'"):
        Policy(exclusive="nune")


# -- who says it ------------------------------------------------------------------------------------


@cvcache.step(version=1)
def scale(out: cvcache.CacheDir, factor: int) -> None:
    out.write("scaled.json", factor)


def fill(node: cvcache.CacheDir, factor: int) -> None:
    with cdir_init(node, {"factor": factor}) as out:
        out.write("scaled.json", factor)


OPENED: dict[str, Callable[[cvcache.CacheDir, int], object]] = {
    "cdir_init": fill,
    "step": scale,
    "cached": lambda node, value: node.cached("value.json", lambda: [1], indent=value),
}


@pytest.fixture
def node() -> cvcache.CacheDir:
    """Give a fresh node."""
    node = cdir("memory://policy/node")
    cvcache.cdir_remove(node, recursive=True, force=True)
    return node


@pytest.mark.parametrize("opened", OPENED)
def test_the_environment_says_what_a_changed_key_does(
    node: cvcache.CacheDir, opened: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    OPENED[opened](node, 1)
    monkeypatch.setenv("CVCACHE_ON_STALE", "error")
    with pytest.raises(NodeStale):
        OPENED[opened](cdir(node.url), 2)


def test_a_call_says_it_before_the_step_and_that_before_the_policy(node: cvcache.CacheDir) -> None:
    scale(node, 1)
    strict = cdir(node, policy=Policy(on_stale="error"))
    with pytest.raises(NodeStale):
        scale(strict, 2)
    beside = cvcache.step(version=1, on_stale="new")(scale._function)
    assert beside(strict, 2).name == "node,factor=2"
    with pytest.raises(NodeStale):
        beside.options(on_stale="error")(cdir(node), 2)
    assert beside.options(on_stale="recompute")(strict, 2).url == node.url
    assert cdir_init(strict, {"factor": 3}, on_stale="recompute").commit is None


def test_the_environment_says_whether_to_wait(node: cvcache.CacheDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVCACHE_WAIT", "no")
    with cdir_init(node), ThreadPoolExecutor(1) as other_thread:
        for policy in (None, Policy(ttl=30)):
            with pytest.raises(NodeBusy):
                other_thread.submit(cdir_init, cdir(node.url, policy=policy)).result(30)


def test_a_pickle_has_the_values_and_not_the_environment(
    node: cvcache.CacheDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVCACHE_TTL", "30")
    monkeypatch.setenv("CVCACHE_ON_STALE", "error")
    data = pickle.dumps(cdir(node.url))
    monkeypatch.setenv("CVCACHE_TTL", "20")
    monkeypatch.setenv("CVCACHE_WAIT", "0")
    sent = pickle.loads(data)  # noqa: S301 - of two lines above
    assert address_of(sent).context.policy == Policy(ttl=30, wait=True, on_stale="error")


def test_an_import_reads_no_variable() -> None:
    code = "import cvcache; cvcache.Policy; print('imported'); cvcache.cdir('memory://x/y')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"CVCACHE_TTL": "soon"}, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "imported"
    assert "UsageError: CVCACHE_TTL is a positive number of seconds" in done.stderr
