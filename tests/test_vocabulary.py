"""The words that users meet: a new one is added here, with the reason why no existing one does its work."""

from __future__ import annotations

import pytest

import cvcache
from cvcache.cli import cli

NODE = {
    # where it is
    "url", "name", "parent", "children",
    # what it is
    "commit", "committed", "computed", "state", "reason", "error", "meta", "version", "refresh",
    # what it holds
    "items", "read", "write", "open", "path", "cached", "log",
}  # fmt: skip
ITEM = {"name", "node", "url", "meta", "read", "thumbnail", "shape", "dtype", "ndim", "dask", "to_dask_array"}
COMMIT = {"time", "version", "key", "digest", "duration", "host", "reason", "meta", "environment", "of"}
FUNCTIONS = {
    "cdir", "cdir_init", "cdir_commit", "cdir_query", "cdir_walk", "cdir_remove", "cdir_copy", "cdir_verify",
    "step", "plan", "open_image", "register_format", "register_key",
}  # fmt: skip
CLASSES = {"CacheDir", "Commit", "Damage", "Item", "Policy"}
COMMANDS = {"demo", "tree", "ls", "show", "path", "logs", "why", "plan", "verify", "view"}


def public_members(kind: type) -> set[str]:
    return {name for name in {*dir(kind), *getattr(kind, "__dataclass_fields__", ())} if not name.startswith("_")}


@pytest.mark.parametrize(
    ("kind", "members", "limit"), [(cvcache.CacheDir, NODE, 20), (cvcache.Item, ITEM, 11), (cvcache.Commit, COMMIT, 11)]
)
def test_members(kind: type, members: set[str], limit: int) -> None:
    assert public_members(kind) == members
    assert len(members) <= limit


def test_names_of_the_package() -> None:
    errors = {name for name in cvcache.__all__ if issubclass(_class(name), BaseException)}
    assert set(cvcache.__all__) - errors == FUNCTIONS | CLASSES


def _class(name: str) -> type:
    value = getattr(cvcache, name)
    return value if isinstance(value, type) else object


def test_commands() -> None:
    assert set(cli.commands) == COMMANDS


@pytest.mark.parametrize("kind", [cvcache.CacheDir, cvcache.Item])
def test_nobody_derives_from_a_handle(kind: type) -> None:
    assert kind.__mro__ == (kind, object)
    assert kind.__subclasses__() == []
