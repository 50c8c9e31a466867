"""What a request that failed meant, through the real code of each bucket store."""

from __future__ import annotations

import collections
import os
import socket
import time
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from servers.fault_proxy import Fault, FaultProxy, scripted

from cvcache import CacheDir, InvalidName, cdir, cdir_init, cdir_query, step
from cvcache.store import (
    GcsStore,
    S3Store,
    call_with_retries,
    http_status,
    is_access_denied,
    is_already_exists,
    is_transient,
    open_store,
    resolve_node,
)
from store.stub_http import Answer, Call, answering, s3_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.object_stores import ObjectServer, S3Server

    from cvcache.store import Store

S3_OPTIONS = {"key": "test", "secret": "testtest", "client_kwargs": {"region_name": "us-east-1"}}
EXISTS = s3_error(412, "PreconditionFailed", condition="If-None-Match")
EXISTS_ELSEWHERE = s3_error(412, "PreconditionFailed")
CONFLICT = s3_error(409, "ConditionalRequestConflict")
CREATED = Answer(200)


def s3_at(endpoint: str, **options: Any) -> Store:
    return S3Store({**S3_OPTIONS, **options, "endpoint_url": endpoint})


class _OneKey:
    """An S3 that answers each PUT from a list, and each GET with one content."""

    def __init__(self, content: bytes, *answers: Answer) -> None:
        self.content = content
        self.answers = collections.deque(answers)
        self.calls: list[Call] = []

    def __call__(self, call: Call) -> Answer:
        self.calls.append(call)
        return self.answers.popleft() if call.method == "PUT" else Answer(200, self.content, "binary/octet-stream")

    @property
    def puts(self) -> list[Call]:
        return [call for call in self.calls if call.method == "PUT"]


# -- the three spellings of "lost" ------------------------------------------------------------------


@pytest.mark.parametrize("spelling", [EXISTS, EXISTS_ELSEWHERE], ids=["FileExistsError", "EINVAL-412"])
def test_lost_is_lost_in_every_spelling(spelling: Answer) -> None:
    """AWS names the condition, Ceph and others do not, so that s3fs raises two different errors."""
    server = _OneKey(b"theirs", spelling)
    with answering(server) as endpoint:
        assert s3_at(endpoint).put_new("bucket/key", b"mine") is False
    assert len(server.puts) == 1
    assert server.puts[0].headers["if-none-match"] == "*"


@pytest.mark.parametrize("spelling", [EXISTS, EXISTS_ELSEWHERE], ids=["FileExistsError", "EINVAL-412"])
def test_lost_against_oneself_is_won(spelling: Answer) -> None:
    """The reply of an earlier try was lost: the object that exists holds our own bytes."""
    with answering(_OneKey(b"mine", spelling)) as endpoint:
        assert s3_at(endpoint).put_new("bucket/key", b"mine") is True


def test_the_spellings_differ_in_s3fs() -> None:
    """Show that the two answers above are two different errors below us."""
    errors = []
    with answering(_OneKey(b"", EXISTS, EXISTS_ELSEWHERE)) as endpoint:
        store = s3_at(endpoint)
        for _ in range(2):
            with pytest.raises(OSError, match="stub") as caught:
                store._fs.pipe_file("bucket/key", b"mine", mode="create")  # type: ignore[attr-defined]
            errors.append(caught.value)
    first, second = errors
    assert isinstance(first, FileExistsError)
    assert not isinstance(second, FileExistsError)
    assert http_status(second) == 412
    assert all(is_already_exists(error) and not is_transient(error) for error in errors)


@pytest.mark.parametrize(("then", "won"), [(CREATED, True), (EXISTS, False)], ids=["free", "taken"])
def test_conflict_is_asked_again(then: Answer, won: bool) -> None:  # noqa: FBT001 - a row of the table
    """409 says that two creators were under way, not who won."""
    server = _OneKey(b"theirs", CONFLICT, CONFLICT, then)
    with answering(server) as endpoint:
        assert s3_at(endpoint).put_new("bucket/key", b"mine") is won
    assert len(server.puts) == 3


def test_another_failure_of_a_create_is_no_defeat() -> None:
    server = _OneKey(b"", s3_error(400, "EntityTooLarge"))
    with answering(server) as endpoint, pytest.raises(OSError, match=r"EntityTooLarge|stub"):
        s3_at(endpoint).put_new("bucket/key", b"mine")
    assert len(server.puts) == 1


# -- lost replies -----------------------------------------------------------------------------------


def _through(server: ObjectServer, proxy: FaultProxy) -> Store:
    kind = S3Store if server.protocol == "s3" else GcsStore
    return kind(server.options_for(proxy.endpoint))


@pytest.fixture(params=["s3_server", "gcs_server"])
def object_server(request: pytest.FixtureRequest) -> ObjectServer:
    server: ObjectServer = request.getfixturevalue(request.param)
    return server


WRITES = "^(PUT|POST) "


@pytest.mark.server
def test_a_lost_reply_is_recognised_by_reading_back(object_server: ObjectServer) -> None:
    bucket = object_server.new_bucket()
    with FaultProxy(object_server.port, scripted(Fault.LOST, only=WRITES)) as proxy:
        assert _through(object_server, proxy).put_new(f"{bucket}/key", b"mine") is True
    assert proxy.counts[Fault.LOST] == 1
    assert object_server.get(bucket, "key") == b"mine"


@pytest.mark.server
def test_a_lost_reply_to_the_loser_makes_no_winner(object_server: ObjectServer) -> None:
    bucket = object_server.new_bucket()
    object_server.put(bucket, "key", b"theirs")
    with FaultProxy(object_server.port, scripted(Fault.LOST, only=WRITES)) as proxy:
        assert _through(object_server, proxy).put_new(f"{bucket}/key", b"mine") is False
    assert object_server.get(bucket, "key") == b"theirs"


@pytest.mark.server
def test_a_busy_server_is_asked_again(object_server: ObjectServer) -> None:
    bucket = object_server.new_bucket()
    with FaultProxy(object_server.port, scripted(Fault.UNAVAILABLE, Fault.RESET)) as proxy:
        _through(object_server, proxy).put(f"{bucket}/key", b"mine")
    assert proxy.counts[None] == 1
    assert object_server.get(bucket, "key") == b"mine"


@pytest.mark.server
def test_a_truncated_reply_is_asked_again(object_server: ObjectServer) -> None:
    bucket = object_server.new_bucket()
    object_server.put(bucket, "key", b"content" * 100)
    with FaultProxy(object_server.port, scripted(Fault.TRUNCATED, only="^GET ")) as proxy:
        assert _through(object_server, proxy).get(f"{bucket}/key") == b"content" * 100
    assert proxy.counts[Fault.TRUNCATED] == 1


# -- refusals ---------------------------------------------------------------------------------------


def _denied_s3(call: Call) -> Answer:
    return s3_error(403, "AccessDenied") if call.method != "HEAD" else Answer(403)


def _denied_gcs(_: Call) -> Answer:
    return Answer(403, b'{"error": {"code": 403, "message": "no right to do this"}}', "application/json")


def _stranger_gcs(_: Call) -> Answer:
    return Answer(401, b'{"error": {"code": 401, "message": "Anonymous caller"}}', "application/json")


def gcs_at(endpoint: str) -> Store:
    return GcsStore({"endpoint_url": endpoint, "token": "anon"})


ACTS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("bucket/key"),
    "put": lambda store: store.put("bucket/key", b"1"),
    "put_new": lambda store: store.put_new("bucket/key", b"1"),
    "list": lambda store: store.list("bucket/node"),
    "find": lambda store: store.find("bucket/node"),
    "stat": lambda store: store.stat("bucket/key"),
    "delete": lambda store: store.delete(["bucket/key"]),
    "open": lambda store: store.open("bucket/key", "rb"),
    "exclusive": lambda store: store.exclusive("bucket/node"),
}


@pytest.mark.parametrize(
    ("make", "decide"),
    [(s3_at, _denied_s3), (gcs_at, _denied_gcs), (gcs_at, _stranger_gcs)],
    ids=["s3-403", "gcs-403", "gcs-401"],
)
def test_a_refusal_is_a_permission_error_and_never_absent(
    make: Callable[[str], Store], decide: Callable[[Call], Answer]
) -> None:
    with answering(decide) as endpoint:
        store = make(endpoint)
        for verb, act in ACTS.items():
            with pytest.raises(PermissionError) as caught:
                act(store)
            assert "credentials" in str(caught.value), verb
            assert "://bucket/" in str(caught.value), verb


def test_no_credentials_is_a_permission_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_") and name.endswith(("KEY", "KEY_ID"))]:
        monkeypatch.delenv(name)
    server = _OneKey(b"")
    with answering(server) as endpoint:
        store = S3Store({"endpoint_url": endpoint, "client_kwargs": {"region_name": "us-east-1"}})
        with pytest.raises(PermissionError, match=r"Give credentials as storage options or through the environment"):
            store.list("bucket/node")
    assert server.calls == []


@pytest.mark.server
def test_a_bucket_that_does_not_exist_is_named(object_server: ObjectServer) -> None:
    url = f"{object_server.protocol}://no-such-bucket-here/node"
    for look in (cdir_query, cdir_init):
        with pytest.raises(FileNotFoundError, match=r"there is no bucket 'no-such-bucket-here'; create it"):
            look(cdir(url, **object_server.storage_options))
    scheme, path, _ = resolve_node(url)
    store = open_store(scheme, path, object_server.storage_options)
    for act in (store.list, store.find, lambda path: store.put(path, b"1"), lambda path: store.put_new(path, b"1")):
        with pytest.raises(FileNotFoundError, match="no-such-bucket-here"):
            act(path)


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@pytest.mark.parametrize("make", [s3_at, gcs_at], ids=["s3", "gcs"])
@pytest.mark.parametrize("address", ["http://127.0.0.1:{}", "http://no-such-host.invalid:{}"], ids=["port", "host"])
def test_a_wrong_endpoint_fails_soon_and_is_named(
    make: Callable[[str], Store], address: str, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    endpoint = address.format(closed_port)
    store = make(endpoint)
    began = time.monotonic()
    with pytest.raises(ConnectionError, match=f"no server answers at {endpoint}") as caught:
        store.list("bucket/node")
    assert time.monotonic() - began < 6
    assert isinstance(caught.value, OSError)


def test_an_endpoint_of_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port}")
    with pytest.raises(ConnectionError, match=str(closed_port)):
        S3Store(S3_OPTIONS).list("bucket/node")


def test_an_endpoint_behind_a_proxy_is_not_checked(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    """Only the proxy can say whether it is there."""
    from cvcache.store import check_endpoint

    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    check_endpoint(f"http://beyond.invalid:{closed_port}")
    with pytest.raises(ConnectionError):
        check_endpoint(f"http://127.0.0.1:{closed_port}")


# -- the words themselves ---------------------------------------------------------------------------


class _Failing:
    """Fails with each of `errors` in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def test_what_passes_is_tried_again_at_growing_distance() -> None:
    waits: list[float] = []
    act = _Failing(ConnectionResetError(), TimeoutError(), OSError(5, "EIO"))
    assert call_with_retries(act, 5, waits.append) == "answer"
    assert waits == sorted(waits)
    assert len(waits) == 3


def test_retries_come_to_an_end() -> None:
    waits: list[float] = []
    act = _Failing(*[ConnectionResetError(f"{number}") for number in range(9)])
    with pytest.raises(ConnectionResetError, match="2"):
        call_with_retries(act, 2, waits.append)
    assert act.calls == 3


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError(), FileExistsError(), PermissionError(), IsADirectoryError(), NotADirectoryError(), KeyError()],
    ids=lambda error: type(error).__name__,
)
def test_what_lasts_is_not_tried_again(error: Exception) -> None:
    act = _Failing(error)
    with pytest.raises(type(error)):
        call_with_retries(act, 5, lambda _: pytest.fail("waited"))
    assert act.calls == 1


def test_an_error_of_a_library_without_status_is_none_of_these() -> None:
    assert http_status(RuntimeError("?")) is None
    assert not is_already_exists(RuntimeError("?"))
    assert not is_transient(RuntimeError("?"))
    assert not is_access_denied(RuntimeError("?"))


# -- stores that are not there -------------------------------------------------------------------------


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(InvalidName, match="nonsense:// is an unknown kind of URL; known are s3://"):
        cdir_query("nonsense://bucket/run")


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(ImportError, match=r"Install s3fs.*pip install 'cvcache\[s3\]'"):
        open_store("s3", "another-bucket", {"key": "of-nobody-else"})


@step
def add(out: CacheDir, a: float, *, b: float = 1) -> None:
    out.write("sum.json", a + b)


@pytest.mark.server
def test_a_step_in_a_flaky_bucket_runs_once(s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket()
    faults = scripted(Fault.UNAVAILABLE, None, Fault.RESET, None, Fault.LOST, None, Fault.TRUNCATED, only=bucket)
    with FaultProxy(s3_server.port, faults) as proxy:
        root = cdir(f"s3://{bucket}/run", **s3_server.options_for(proxy.endpoint))
        assert add(root / "sum", 1).read("sum.json") == 2
        assert not add(root / "sum", 1).computed
