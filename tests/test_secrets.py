"""A secret given to reach a store stays with the store: it is looked for in everything that leaves."""

from __future__ import annotations

import copy
import io
import logging
import os
import pickle
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from servers.fault_proxy import FaultProxy, scripted
from store.strangers import claim_record, put_record
from store.stub_http import Answer, answering, s3_error

import cvcache
from cvcache import (
    CacheDir,
    CvcacheError,
    InvalidName,
    Policy,
    UsageError,
    cdir,
    cdir_commit,
    cdir_init,
    cdir_query,
    cdir_remove,
    cdir_walk,
)
from cvcache.formats import ItemPath
from cvcache.node import address_of, snapshot_of
from cvcache.store import find_secrets, redact_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers.object_stores import ObjectServer
    from servers.store_cases import BucketCase, StoreCase

CANARY = "canary7Rf3kQ9zW"
"""Occurs nowhere else; every secret of these tests contains it."""


class Ears:
    """Everything that could let a secret out, collected.

    Parameters
    ----------
    case
        Where to look for it in the store.
    """

    def __init__(self, case: StoreCase | None = None) -> None:
        self._case = case
        self._heard: list[tuple[str, str]] = []
        self.said = io.StringIO()

    def objects(self, **things: object) -> None:
        """Listen to what objects show of themselves, and to their pickles."""
        for name, thing in things.items():
            self._heard += [(f"repr of {name}", repr(thing)), (f"str of {name}", str(thing))]
            self._heard.append((f"format of {name}", f"{thing}"))
            self._heard.append((f"pickle of {name}", pickle.dumps(thing).decode("latin-1")))

    def error(self, error: BaseException) -> None:
        """Listen to a message, and to the traceback as Python prints it, with every cause and context."""
        self.objects(error=error)
        self._heard.append(("traceback", "".join(traceback.format_exception(error))))
        chain: BaseException | None = error
        while chain is not None:
            self._heard.append(("chain", repr(chain)))
            chain = chain.__cause__ or chain.__context__  # a context that is not printed is still pickled by tblib

    def assert_nothing_heard(self) -> None:
        self._heard.append(("log", self.said.getvalue()))
        if self._case is not None:
            for name in self._case.snapshot():
                self._heard += [(f"name {name}", name), (f"bytes of {name}", self._case.read(name).decode("latin-1"))]
        assert self._heard
        assert [where for where, text in self._heard if CANARY in text] == []


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Collect what the package logs, formatted, with tracebacks."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logger = logging.getLogger("cvcache")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield said
    logger.removeHandler(handler)
    logger.setLevel(level)


def _secretive(case: BucketCase) -> dict[str, Any]:
    """Give options full of secrets that the server accepts; both take any credentials."""
    if case.kind == "s3":
        return {**case.options, "key": f"AKIA{CANARY}", "secret": f"S/{CANARY}+x=", "token": f"T{CANARY}"}
    return {**case.options, "session_kwargs": {"headers": {"X-Secret-Token": CANARY}}}


@pytest.fixture(params=["s3", "gcs"])
def case(request: pytest.FixtureRequest) -> BucketCase:
    case: BucketCase = request.getfixturevalue(f"{request.param}_case")
    return case


def _fail(node: CacheDir) -> None:
    with cdir_init(node) as failed, failed.log():
        print(failed, address_of(failed).store)  # noqa: T201 - into the log of the node
        raise ZeroDivisionError


def _no_time(_: float) -> None:
    """Pass at once; a policy crosses a pickle, so no lambda."""


@pytest.mark.server
def test_a_secret_option_leaves_no_trace(case: BucketCase, log: io.StringIO) -> None:
    """The whole life of a tree: computed, failed, refused, recomputed, read, walked, removed."""
    ears = Ears(case)
    ears.said = log
    top = cdir(case.url, policy=Policy(sleep=_no_time), **_secretive(case))
    with cdir_init(top, {"k": 1}) as node, node.log():
        node.write("x.ome.zarr", np.zeros((16, 16), "u1"))
        item = node.write("a.json", {"a": 1})
        with node.open("own.bin", "wb") as file:
            file.write(b"12")
        logging.getLogger("mine").warning("using %s %r", top, address_of(node).store)
    with pytest.raises(ZeroDivisionError):
        _fail(top / "failed")
    put_record(case, claim_record(), "busy")
    case.put("foreign/thesis.txt", b"mine")
    for act in (
        lambda: cdir_init(top / "busy", wait=False),
        lambda: cdir_init(top / "foreign"),
        lambda: cdir_init(top, {"k": 2}, on_stale="error"),
        lambda: cdir_commit(top / "absent"),
        lambda: top / "a*",
        lambda: cdir(top, **_secretive(case)),
        lambda: top.read("b.json"),
        lambda: cdir_init(top).write("b.json", 1),
        lambda: cdir_remove(top),
    ):
        with pytest.raises(CvcacheError) as caught:
            act()
        ears.error(caught.value)
    commit, address, snapshot = cdir_query(top).commit, address_of(top), snapshot_of(cdir_query(top))
    ears.objects(
        node=top, item=item, commit=commit, address=address, policy=address.context.policy, store=address.store,
        copy=copy.copy(top), place=ItemPath(address.store, address.path), nodes=list(cdir_walk(top)), snapshot=snapshot,
        record=snapshot.record,
    )  # fmt: skip
    ears.assert_nothing_heard()
    with cdir_init(top, {"k": 3}) as node:
        node.write("a.json", 2)
    cdir_remove(top, recursive=True, force=True)
    ears.assert_nothing_heard()


@pytest.mark.server
def test_a_secret_in_the_environment_leaves_no_trace(
    s3_case: BucketCase, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKIA{CANARY}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"S{CANARY}")
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"T{CANARY}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_case.server.endpoint)
    ears = Ears(s3_case)
    ears.said = log
    node = cdir(s3_case.url, client_kwargs={"region_name": "us-east-1"})
    with cdir_init(node) as opened, opened.log():
        opened.write("a.json", 1)
    ears.objects(node=node, store=address_of(node).store, commit=cdir_query(node).commit)
    ears.assert_nothing_heard()


@pytest.mark.server
def test_the_secret_is_really_sent(s3_case: BucketCase) -> None:
    """Otherwise the tests above would prove nothing."""
    server: ObjectServer = s3_case.server
    with FaultProxy(server.port, scripted()) as proxy:
        options = {**_secretive(s3_case), "endpoint_url": proxy.endpoint}
        cdir_query(cdir(s3_case.url, **options))
        assert CANARY in proxy.log[0][0].headers["authorization"]


@pytest.mark.server
def test_another_process_gets_a_handle_without_secrets(s3_case: BucketCase, tmp_path: Path) -> None:
    top = cdir(s3_case.url, **_secretive(s3_case))
    with cdir_init(top) as node:
        item = node.write("a.json", 1)
    for thing in (
        top,
        node,
        item,
        top / "child",
        address_of(top).store,
        ItemPath(address_of(top).store, address_of(top).path),
        cvcache.cdir_query(top),
    ):
        assert CANARY.encode() not in pickle.dumps(thing)
    again: CacheDir = pickle.loads(pickle.dumps(node))  # noqa: S301 - its own
    assert again == node
    assert address_of(again).context.options == address_of(top).context.options, "this process knows them"
    (tmp_path / "node").write_bytes(pickle.dumps(node))
    program = (
        "import pickle, sys; from cvcache.node import address_of; from pathlib import Path; "
        "print(dict(address_of(pickle.loads(Path(sys.argv[1]).read_bytes())).context.options))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "node")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "{}\n"


# -- failures, as the libraries below word them ---------------------------------------------------------


OPTIONS: dict[str, Any] = {
    "key": f"AKIA{CANARY}",
    "secret": f"S{CANARY}",
    "client_kwargs": {"region_name": "us-east-1"},
}


def _gossip(status: int, code: str) -> Answer:
    """Give the reply of a server that repeats what it was sent."""
    plain = s3_error(status, code).body.decode()
    return Answer(status, plain.replace("said by a stub", f"key AKIA{CANARY} and S{CANARY} are no good").encode())


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(403, "InvalidAccessKeyId", PermissionError), (400, "Odd", OSError), (404, "NoSuchBucket", FileNotFoundError)],
)
def test_a_server_that_repeats_a_secret_is_not_quoted(status: int, code: str, kind: type[OSError]) -> None:
    ears = Ears()
    with answering(lambda _: _gossip(status, code)) as endpoint:
        node = cdir("s3://bucket/run", **OPTIONS, endpoint_url=endpoint)
        for act in (cdir_query, cdir_init, cdir_remove, lambda node: address_of(node).store.put("bucket/run/x", b"1")):
            with pytest.raises(kind) as caught:
                act(node)
            ears.error(caught.value)
    ears.assert_nothing_heard()


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_password_in_the_endpoint_is_not_shown(scheme: str) -> None:
    ears = Ears()
    options = OPTIONS if scheme == "s3" else {"token": "anon"}
    node = cdir(f"{scheme}://bucket/run", endpoint_url=f"http://user:{CANARY}@127.0.0.1:9", **options)
    with pytest.raises(ConnectionError, match=r"no server answers at http://127\.0\.0\.1:9 ") as caught:
        cdir_query(node)
    ears.error(caught.value)
    ears.objects(node=node, store=address_of(node).store)
    ears.assert_nothing_heard()


def test_a_password_in_the_endpoint_of_a_server_that_answers_is_not_shown() -> None:
    ears = Ears()
    with answering(lambda _: _gossip(500, "InternalError")) as endpoint:
        address = endpoint.replace("http://", f"http://user:{CANARY}@")
        node = cdir("s3://bucket/run", endpoint_url=address, policy=Policy(retries=0), **OPTIONS)
        with pytest.raises(OSError, match="the request failed") as caught:
            cdir_query(node)
        ears.error(caught.value)
    ears.assert_nothing_heard()


def test_a_store_that_cannot_be_opened_quotes_no_secret() -> None:
    ears = Ears()
    token = {"private_key": f"-----BEGIN {CANARY}", "client_email": "a@b"}
    refusal = r"cannot be opened with these storage options \(endpoint_url, token\)"
    with pytest.raises(UsageError, match=refusal) as caught:
        cdir_query(cdir("gs://bucket/run", token=token, endpoint_url="http://127.0.0.1:9"))
    ears.error(caught.value)
    ears.assert_nothing_heard()


def test_a_failing_step_records_no_secret_of_the_store(memory_case: StoreCase) -> None:
    """The traceback of the failure is kept in the node, so it must be clean before it gets there."""
    ears = Ears(memory_case)
    with (
        answering(lambda _: _gossip(403, "InvalidAccessKeyId")) as endpoint,
        pytest.raises(PermissionError),
        cdir_init(memory_case.child("node")) as node,
        node.log(),
    ):
        cdir_query(cdir("s3://bucket/run", **OPTIONS, endpoint_url=endpoint))
    assert "PermissionError" in (cdir_query(memory_case.child("node")).error or {})["type"]
    ears.assert_nothing_heard()


@pytest.mark.parametrize(
    "url",
    [
        f"s3://AKIA:{CANARY}@bucket/run",
        f"s3://AKIA:a/{CANARY}@bucket/run",
        f"s3://bucket/run?X-Amz-Signature={CANARY}",
        f"https://host/run?sig={CANARY}",
        f"gs://bucket/run?access_token={CANARY}",
    ],
)
def test_a_url_with_a_secret_is_refused_without_repeating_it(url: str, log: io.StringIO) -> None:
    ears = Ears()
    ears.said = log
    for act in (cdir, cdir_init, cdir_query, cdir_remove):
        with pytest.raises(InvalidName) as caught:
            act(url)
        ears.objects(error=caught.value)
    ears.assert_nothing_heard()


def test_options_that_are_refused_are_named_not_shown(memory_case: StoreCase, tmp_path: Any) -> None:
    ears = Ears()
    acts: list[Callable[[], object]] = [
        lambda: cdir_query(memory_case.url, password=CANARY),
        lambda: cdir_query(str(tmp_path / "node"), token=CANARY),
        lambda: cdir(cdir(memory_case.url), secret=CANARY),
        lambda: cdir(memory_case.url, polcy=CANARY),
        lambda: cdir_init(memory_case.url, key="k", secret=CANARY),
    ]
    for act in acts:
        with pytest.raises(CvcacheError) as caught:
            act()
        ears.objects(error=caught.value)
    ears.assert_nothing_heard()


# -- what counts as a secret ------------------------------------------------------------------------------


def test_secrets_are_found_wherever_options_hold_them() -> None:
    options = {
        "key": "AKIA-long-enough",
        "secret": "the-secret",
        "token": {"private_key": "-----BEGIN", "client_email": "me@example.org"},
        "client_kwargs": {"endpoint_url": "https://user:password@host/x", "region_name": "us-east-1"},
        "config_kwargs": {"proxies": ["http://who:proxypass@proxy:3128"]},
        "anon": False,
        "short_key": "abc",
        "profile": "my-profile",
    }
    found = find_secrets(options)
    assert {"AKIA-long-enough", "the-secret", "-----BEGIN", "password", "proxypass", "user:password"} <= found
    assert not {"us-east-1", "my-profile", "abc"} & found
    assert find_secrets({"token": "google_default", "project": "p"}) == frozenset()


def test_a_secret_inside_a_secret_is_struck_out_whole() -> None:
    assert (
        redact_secrets(frozenset({"password", "user:password"}), "at user:password@host, password")
        == "at ***@host, ***"
    )


def test_a_secret_is_struck_out_in_a_query_too() -> None:
    """Gcsfs asks Google about a token in a URL, and quotes that URL when nobody answers."""
    secrets = find_secrets({"token": "ya29.a/b+c=="})
    assert redact_secrets(secrets, "url: /tokeninfo?access_token=ya29.a%2Fb%2Bc%3D%3D (refused)").count("ya29") == 0


def test_no_secret_of_the_environment_is_in_these_tests() -> None:
    assert not [name for name, value in os.environ.items() if CANARY in value]
