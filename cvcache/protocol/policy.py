"""Timeouts, retries and requirements for a store; what code leaves open is read from the environment."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, TypeVar

from cvcache.errors import UsageError, did_you_mean

T = TypeVar("T")
MAX_SECONDS = 1e9


class OnStale(Enum):
    """What to do with a committed node if the key has changed."""

    RECOMPUTE = "recompute"
    ERROR = "error"
    NEW = "new"


class _Domain(NamedTuple):
    """The values of a field: in words, by a test, and by name if they have names."""

    takes: str
    accepts: Callable[[Any], bool]
    choices: tuple[str, ...] = ()

    def check(self, name: str, value: object) -> None:
        """Raise `UsageError` if the field or variable `name` does not take `value`."""
        if not self.accepts(value):
            msg = f"{name} is {self.takes}, not {value!r}{did_you_mean(str(value), self.choices)}"
            raise UsageError(msg)


def _one_of(*choices: str) -> _Domain:
    return _Domain(f"one of {', '.join(choices)}", choices.__contains__, choices)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_FLAG = _Domain(
    "True or False (in the environment 1 or 0, true or false, yes or no, on or off)", lambda v: isinstance(v, bool)
)
_DOMAINS = {
    "ttl": _Domain(
        f"a positive number of seconds, below {MAX_SECONDS:.0f}", lambda v: _is_number(v) and 0 < v < MAX_SECONDS
    ),
    "wait": _FLAG,
    "on_stale": _one_of(*(choice.value for choice in OnStale)),
    "keep_old": _FLAG,
    "exclusive": _one_of("auto", "none"),
    "retries": _Domain("a whole number, 0 or more", lambda v: _is_number(v) and isinstance(v, int) and v >= 0),
    "request_timeout": _Domain(
        f"a number of seconds, 0 or more, below {MAX_SECONDS:.0f}", lambda v: _is_number(v) and 0 <= v < MAX_SECONDS
    ),
    "record_host": _FLAG,
}


@functools.cache  # it is asked for every result that is read
def check_on_stale(on_stale: str) -> OnStale:
    """Return the choice that `on_stale` names, or raise `UsageError`."""
    _DOMAINS["on_stale"].check("on_stale", on_stale)
    return OnStale(on_stale)


def _setting(name: str, default: T) -> T:
    """Return a field whose default is what its variable says when a policy is made, or else `default`."""
    variable = f"CVCACHE_{name.upper()}"
    return field(default_factory=functools.partial(_read_variable, variable, _DOMAINS[name], default))


def _read_variable(variable: str, domain: _Domain, default: T) -> T:
    """Return the value of an environment variable as the type of `default`; that itself if it is not set, or empty."""
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    value: T = _parse(text, type(default))
    domain.check(variable, value)
    return value


def _parse(text: str, kind: Callable[[str], Any]) -> Any:
    """Return `text` as a value of `kind`; unchanged if it is none, for the check to refuse."""
    if kind is bool:
        return _FLAGS.get(text.lower(), text)
    try:
        return kind(text)
    except ValueError:
        return text


@dataclass(frozen=True, slots=True)
class Policy:
    """Timeouts, retries and requirements for a store, and what calls do that do not say it themselves.

    What is left out is read from the environment when the policy is made: ``CVCACHE_TTL``, ``CVCACHE_ON_STALE`` and
    so on, a variable for each field but `clock` and `sleep`. A pickle has the values.

    Attributes
    ----------
    ttl : float
        Length of a lease: seconds without a heartbeat after which an owner on another machine counts as gone; 60.
    wait : bool
        Whether to wait for a live owner, as is the default; otherwise `NodeBusy` is raised at once.
    on_stale : {"recompute", "error", "new"}
        What a changed key does to a committed node, see `cdir_init`.
    keep_old : bool
        Whether the result that stands stays until its successor is committed, as is the default; False withdraws and
        deletes it before the first byte of the new one, for disks too small for both.
    exclusive : {"auto", "none"}
        ``"auto"`` refuses a store that cannot elect one winner; ``"none"`` accepts it for one writer
        at a time, with a warning, and marks the records.
    retries : int
        How often a request is sent again after a transient error; 5.
    request_timeout : float
        Seconds after which a request of a killed process no longer reaches the store; added to `ttl`; 10.
    record_host : bool
        Whether records name this machine, as is the default.
    clock, sleep : callable
        Monotonic seconds, and a sleep; tests replace them.

    Raises
    ------
    UsageError
        For a value that a field, or its variable, does not take.
    """

    ttl: float = _setting("ttl", 60.0)
    wait: bool = _setting("wait", default=True)
    on_stale: str = _setting("on_stale", "recompute")
    keep_old: bool = _setting("keep_old", default=True)
    exclusive: str = _setting("exclusive", "auto")
    retries: int = _setting("retries", 5)
    request_timeout: float = _setting("request_timeout", 10.0)
    record_host: bool = _setting("record_host", default=True)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        for name, domain in _DOMAINS.items():
            domain.check(name, getattr(self, name))


_VARIABLES = tuple(f"CVCACHE_{name.upper()}" for name in _DOMAINS)


def default_policy() -> Policy:
    """Return ``Policy()``, the same object while the environment is the same."""
    return _policy_of(tuple(map(os.environ.get, _VARIABLES)))


@functools.lru_cache(8)
def _policy_of(_: tuple[str | None, ...]) -> Policy:
    return Policy()
