"""Each launcher does what it says; otherwise a test that relies on it proves nothing."""

from __future__ import annotations

import concurrent.futures
import errno
import http.client
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from servers import process
from servers.fault_proxy import Fault, FaultProxy, Request, scripted, seeded
from servers.missing import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.object_stores import GcsServer, ObjectServer, S3Server
    from servers.store_cases import LocalCase, StoreCase

RACERS = 32
ROUNDS = 5


def _filesystem(server: ObjectServer, endpoint: str | None = None) -> Any:
    """Open the server through fsspec with a connection per racer and no listing cache."""
    import fsspec

    options = server.options_for(endpoint or server.endpoint)
    if server.protocol == "s3":
        options["config_kwargs"] = {"max_pool_connections": RACERS}
    return fsspec.filesystem(server.protocol, skip_instance_cache=True, use_listings_cache=False, **options)


def _race(filesystem: Any, path: str) -> list[int]:
    """Let all racers create one key at once; give the numbers of those who were told they did."""
    start = threading.Barrier(RACERS)

    def create(number: int) -> bool:
        start.wait()
        try:
            filesystem.pipe_file(path, b"racer %d" % number, mode="create")
        except OSError as error:
            assert isinstance(error, FileExistsError) or error.errno == errno.EINVAL  # noqa: PT017  # every loser
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(RACERS) as pool:
        return [number for number, won in enumerate(pool.map(create, range(RACERS))) if won]


@pytest.mark.parametrize("fixture", ["s3_server", "gcs_server"])
@pytest.mark.server
def test_exactly_one_racer_creates_a_key(fixture: str, request: pytest.FixtureRequest) -> None:
    server: ObjectServer = request.getfixturevalue(fixture)
    filesystem, bucket = _filesystem(server), server.new_bucket()
    for number in range(ROUNDS):
        winners = _race(filesystem, f"{bucket}/round/{number}")
        assert len(winners) == 1
        assert server.get(bucket, f"round/{number}") == b"racer %d" % winners[0]


def test_rclone_lets_everybody_win(rclone_server: S3Server) -> None:
    winners = _race(_filesystem(rclone_server), f"{rclone_server.new_bucket()}/key")
    assert len(winners) == RACERS


@pytest.mark.parametrize("fixture", ["s3_server", "gcs_server", "rclone_server"])
@pytest.mark.parametrize("key", ["plain", "a b/ü+%&#.txt", "deep/er/key"])
@pytest.mark.server
def test_own_channel_and_fsspec_see_the_same(fixture: str, key: str, request: pytest.FixtureRequest) -> None:
    server: ObjectServer = request.getfixturevalue(fixture)
    filesystem, bucket = _filesystem(server), server.new_bucket()
    server.put(bucket, key, b"by hand")
    assert filesystem.cat_file(f"{bucket}/{key}") == b"by hand"
    filesystem.pipe_file(f"{bucket}/{key}", b"by fsspec")
    assert server.get(bucket, key) == b"by fsspec"
    assert list(server.keys(bucket)) == [key]
    server.delete(bucket, key)
    assert list(server.keys(bucket)) == []


@pytest.mark.parametrize("fixture", ["s3_server", "gcs_server"])
@pytest.mark.server
def test_listing_by_hand_is_complete(fixture: str, request: pytest.FixtureRequest) -> None:
    server: ObjectServer = request.getfixturevalue(fixture)
    bucket = server.new_bucket()
    names = {f"{number:04d}" for number in range(1001)}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: server.put(bucket, name, b"x"), names))
    listed = list(server.keys(bucket))
    assert set(listed) == names
    assert len(listed) == len(names)


def test_a_large_object_is_uploaded_in_parts(s3_server: S3Server) -> None:
    filesystem, bucket = _filesystem(s3_server), s3_server.new_bucket()
    content = b"0123456789abcdef" * (12 * 2**16)
    with filesystem.open(f"{bucket}/large", "wb", block_size=5 * 2**20) as file:
        file.write(content)
    assert s3_server.get(bucket, "large") == content


# -- roots ---------------------------------------------------------------------------------------


def test_case_starts_empty_and_shows_every_change(store_case: StoreCase) -> None:
    beside = f"../{store_case.root}-beside.txt"
    before = store_case.snapshot()
    store_case.put("a/b.txt", b"one")
    store_case.put(beside, b"two")
    assert store_case.snapshot().keys() - before.keys() == {"a/b.txt", beside}
    assert store_case.read("a/b.txt") == b"one"
    changed = store_case.snapshot()
    store_case.put("a/b.txt", b"eno")
    assert store_case.snapshot() != changed
    store_case.delete("a/b.txt")
    store_case.delete(beside)
    assert before.items() <= store_case.snapshot().items()


def test_case_is_reached_by_its_url_and_options(store_case: StoreCase) -> None:
    import fsspec

    store_case.put("a/b.txt", b"one")
    filesystem, path = fsspec.url_to_fs(store_case.child("a", "b.txt"), **store_case.options)
    assert filesystem.cat_file(path) == b"one"


def test_two_cases_on_one_server_do_not_meet(s3_case: StoreCase, gcs_case: StoreCase) -> None:
    s3_case.put("x", b"1")
    assert gcs_case.snapshot() == {}


def test_local_snapshot_shows_links_and_empty_directories(local_case: LocalCase) -> None:
    assert local_case.snapshot() == {}
    local_case.put("folder/file", b"")
    (local_case.path / "hollow").mkdir()
    (local_case.path / "to-folder").symlink_to("folder")
    (local_case.path / "to-nothing").symlink_to("missing")
    shown = local_case.snapshot()
    assert shown.keys() == {"folder/file", "hollow/", "to-folder", "to-nothing"}
    assert shown["hollow/"] == "empty directory"
    assert shown["to-folder"] == "link -> folder"
    assert shown["to-nothing"] == "link -> missing"


# -- processes -----------------------------------------------------------------------------------


def test_a_server_that_ends_is_reported_with_what_it_said() -> None:
    command = [sys.executable, "-c", "raise SystemExit('no licence')"]
    with pytest.raises(RuntimeError, match="no licence"), process.answering(lambda _: command):
        pass


def test_the_program_is_stopped_with_the_block() -> None:
    with process.running([sys.executable, "-c", "import time; time.sleep(600)"]) as (program, _):
        assert program.poll() is None
    assert program.poll() is not None


def test_a_missing_server_fails_in_ci_and_skips_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVCACHE_CI", "1")
    with pytest.raises(pytest.fail.Exception, match="get it so"):
        unavailable("It", "get it so")
    monkeypatch.delenv("CVCACHE_CI")
    with pytest.raises(pytest.skip.Exception, match="It is not on this machine; get it so"):
        unavailable("It", "get it so")


def test_servers_do_not_import_cvcache() -> None:
    program = "import sys, servers.store_cases, servers.object_stores; print('cvcache' in sys.modules)"
    reply = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, check=True
    )
    assert reply.stdout.strip() == b"False"


# -- faults --------------------------------------------------------------------------------------


def _ask(proxy: FaultProxy, method: str, target: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send one request on a connection of its own, with no client that would try again."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
    try:
        connection.request(method, target, body)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


@pytest.fixture
def bucket(gcs_server: GcsServer) -> str:
    return gcs_server.new_bucket()


@pytest.fixture
def upload(bucket: str) -> Callable[[FaultProxy], tuple[int, bytes]]:
    """Give a function that creates the object ``new`` through a proxy."""
    target = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name=new"
    return lambda proxy: _ask(proxy, "POST", target, b"content")


def test_proxy_passes_requests_unharmed(gcs_server: GcsServer, bucket: str) -> None:
    gcs_server.put(bucket, "key", b"content")
    with FaultProxy(gcs_server.port, scripted()) as proxy:
        assert _ask(proxy, "GET", f"/storage/v1/b/{bucket}/o/key?alt=media") == (200, b"content")
        assert _ask(proxy, "GET", f"/storage/v1/b/{bucket}/o/absent?alt=media")[0] == http.HTTPStatus.NOT_FOUND
    assert proxy.counts == {None: 2}


def test_proxy_answers_503_without_the_server(
    gcs_server: GcsServer, bucket: str, upload: Callable[[FaultProxy], tuple[int, bytes]]
) -> None:
    with FaultProxy(gcs_server.port, scripted(Fault.UNAVAILABLE)) as proxy:
        assert upload(proxy)[0] == http.HTTPStatus.SERVICE_UNAVAILABLE
        assert list(gcs_server.keys(bucket)) == []
        assert upload(proxy)[0] == http.HTTPStatus.OK
    assert [fault for _, fault in proxy.log] == [Fault.UNAVAILABLE, None]


def test_proxy_resets_before_the_server(
    gcs_server: GcsServer, bucket: str, upload: Callable[[FaultProxy], tuple[int, bytes]]
) -> None:
    with FaultProxy(gcs_server.port, scripted(Fault.RESET)) as proxy, pytest.raises(ConnectionResetError):
        upload(proxy)
    assert list(gcs_server.keys(bucket)) == []


def test_proxy_loses_the_reply_after_the_server_obeyed(
    gcs_server: GcsServer, bucket: str, upload: Callable[[FaultProxy], tuple[int, bytes]]
) -> None:
    with FaultProxy(gcs_server.port, scripted(Fault.LOST)) as proxy, pytest.raises(ConnectionResetError):
        upload(proxy)
    assert gcs_server.get(bucket, "new") == b"content"


def test_proxy_truncates_the_body(gcs_server: GcsServer, bucket: str) -> None:
    gcs_server.put(bucket, "key", b"content!")
    with (
        FaultProxy(gcs_server.port, scripted(Fault.TRUNCATED)) as proxy,
        pytest.raises(http.client.IncompleteRead) as caught,
    ):
        _ask(proxy, "GET", f"/storage/v1/b/{bucket}/o/key?alt=media")
    assert caught.value.partial == b"cont"


def test_proxy_cannot_truncate_a_reply_without_a_body(gcs_server: GcsServer) -> None:
    with FaultProxy(gcs_server.port, scripted(Fault.TRUNCATED)) as proxy:
        _ask(proxy, "HEAD", "/")
    assert proxy.counts == {None: 1}


def test_proxy_delays(gcs_server: GcsServer, upload: Callable[[FaultProxy], tuple[int, bytes]]) -> None:
    with FaultProxy(gcs_server.port, scripted(Fault.DELAYED), delay=0.3) as proxy:
        began = time.monotonic()
        assert upload(proxy)[0] == http.HTTPStatus.OK
        assert time.monotonic() - began >= 0.3


def test_decisions_follow_the_seed_and_the_filter() -> None:
    def decisions(seed: int) -> list[Fault | None]:
        decide = seeded({Fault.RESET: 0.2, Fault.LOST: 0.2}, seed=seed, only="^PUT ")
        return [decide(Request(number, "PUT", "/key", {})) for number in range(100)]

    assert decisions(1) == decisions(1) != decisions(2)
    assert set(decisions(1)) == {Fault.RESET, Fault.LOST, None}
    assert seeded({Fault.RESET: 1.0}, seed=1, only="^PUT ")(Request(1, "GET", "/key", {})) is None
    only_put = scripted(Fault.LOST, only="^PUT ")
    assert [only_put(Request(1, method, "/", {})) for method in ("GET", "PUT", "PUT")] == [None, Fault.LOST, None]


@pytest.mark.parametrize("fixture", ["s3_server", "gcs_server"])
@pytest.mark.server
def test_fsspec_survives_a_bad_day(fixture: str, request: pytest.FixtureRequest) -> None:
    server: ObjectServer = request.getfixturevalue(fixture)
    bucket = server.new_bucket()
    rates = {Fault.UNAVAILABLE: 0.05, Fault.RESET: 0.03, Fault.LOST: 0.03, Fault.TRUNCATED: 0.02}
    with FaultProxy(server.port, seeded(rates, seed=7)) as proxy:
        filesystem = _filesystem(server, proxy.endpoint)

        def there_and_back(number: int) -> bytes:
            filesystem.pipe_file(f"{bucket}/{number}", b"%d" % number)
            content: bytes = filesystem.cat_file(f"{bucket}/{number}")
            return content

        # side by side: a client waits a second or two before it tries again
        with concurrent.futures.ThreadPoolExecutor(RACERS) as pool:
            assert list(pool.map(there_and_back, range(100))) == [b"%d" % number for number in range(100)]
    assert set(proxy.counts) >= {Fault.UNAVAILABLE, Fault.RESET, Fault.LOST, None}


@pytest.mark.parametrize("fixture", ["s3_server", "gcs_server"])
@pytest.mark.server
def test_a_lost_reply_makes_a_client_lose_against_itself(fixture: str, request: pytest.FixtureRequest) -> None:
    """Show why every record carries a nonce: the client tries again and finds what it wrote itself."""
    server: ObjectServer = request.getfixturevalue(fixture)
    bucket = server.new_bucket()
    with FaultProxy(server.port, scripted(Fault.LOST, only="^(PUT|POST) ")) as proxy:
        filesystem = _filesystem(server, proxy.endpoint)
        with pytest.raises(FileExistsError):
            filesystem.pipe_file(f"{bucket}/key", b"mine", mode="create")
    assert server.get(bucket, "key") == b"mine"
