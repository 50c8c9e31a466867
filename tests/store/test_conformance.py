"""Every store does what `cvcache.testing.store_tests` demands; a store's test is a subclass."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from child import child

from cvcache.store import BucketStore, LocalStore, MemoryStore, open_store, resolve_node
from cvcache.testing import CountingStore, FaultyStore, StoreTests, overrides

if TYPE_CHECKING:
    from pathlib import Path

    from servers.object_stores import S3Server
    from servers.store_cases import BucketCase

    from cvcache.store import Store


class TestLocal(StoreTests):
    @pytest.fixture
    def store(self) -> Store:
        return LocalStore()

    @pytest.fixture
    def root(self, tmp_path: Path) -> str:
        return str(tmp_path / "root")

    @pytest.mark.parametrize("proc", [True, False])
    def test_names_are_none_through_a_link(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, proc: bool
    ) -> None:
        top = tmp_path.resolve()
        if not proc:  # macOS has none
            real = os.readlink

            def readlink(path: str, *args: Any, **kwargs: Any) -> str:
                if str(path).startswith("/proc/"):
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
                return real(path, *args, **kwargs)

            monkeypatch.setattr(os, "readlink", readlink)
        store.put(f"{top}/real/log/a", b"1")
        (top / "alias").symlink_to("real")
        (top / "real" / "other").symlink_to("log")
        assert "a" in store.names(f"{top}/real/log")
        assert not store.names(f"{top}/alias/log")
        assert not store.names(f"{top}/real/other")

    @pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
    def test_what_is_no_file_is_refused_at_once(self, store: Store, tmp_path: Path, kind: str) -> None:
        place = tmp_path / "odd.log"
        with contextlib.ExitStack() as ends:
            if kind == "pipe":
                os.mkfifo(place)
            elif kind == "socket":
                server = ends.enter_context(socket.socket(socket.AF_UNIX))
                ends.enter_context(contextlib.chdir(tmp_path))  # the whole path may be too long for one
                server.bind(place.name)
            else:
                try:
                    os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # zeros without end
                    place.open("rb").close()
                except PermissionError:
                    pytest.skip("only root makes devices, and not everywhere")
            for end in (None, 9):
                if kind == "device":  # not waited for, and not read without end
                    assert not store.get(str(place), 0, end).strip(b"\0")
                    continue
                with pytest.raises(OSError, match="pipe, socket or device") as caught:
                    store.get(str(place), 0, end)
                assert not isinstance(caught.value, FileNotFoundError)
            with pytest.raises(OSError, match="pipe, socket or device"):
                store.open(str(place), "rb")

    def test_a_file_that_is_lent_to_somebody_is_waited_for(self, store: Store, tmp_path: Path) -> None:
        pytest.importorskip("fcntl")
        place = tmp_path / "lent"
        place.write_bytes(b"result")
        code = (
            "import fcntl, sys, time\n"
            "file = open(sys.argv[1], 'rb')\n"
            "try: fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n"
            "except (OSError, AttributeError): print('no')\n"
            "else: print('lent')\n"
            "sys.stdout.flush()\n"
            "time.sleep(60)"  # the kernel ends it by a signal once somebody wants the file
        )
        with child([sys.executable, "-c", code, str(place)], stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            if holder.stdout.readline() != "lent\n":
                pytest.skip("this file system lends nothing")
            assert store.get(str(place)) == b"result"
            holder.kill()


class TestLocalWithoutHardLinks(TestLocal):
    """SMB and exFAT have none: creating is then the kernel's O_EXCL."""

    @pytest.fixture(autouse=True)
    def _no_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)


class TestMemory(StoreTests):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()

    @pytest.fixture
    def root(self) -> str:
        return uuid.uuid4().hex


class _TestBucket(StoreTests):
    @pytest.fixture
    def root(self, case: BucketCase) -> str:
        return resolve_node(case.url)[1]

    @pytest.fixture
    def store(self, case: BucketCase) -> Store:
        scheme, path, _ = resolve_node(case.url)
        return open_store(scheme, path, case.options)


class TestS3(_TestBucket):
    @pytest.fixture
    def case(self, s3_case: BucketCase) -> BucketCase:
        return s3_case


class TestGcs(_TestBucket):
    @pytest.fixture
    def case(self, gcs_case: BucketCase) -> BucketCase:
        return gcs_case


@pytest.fixture(scope="module")
def general_store(s3_server: S3Server) -> Store:
    return BucketStore(s3_server.storage_options, scheme="s3")


class TestGeneralBucket(_TestBucket):
    """What Azure and others would use: the general verbs of fsspec, here in front of S3."""

    @pytest.fixture
    def case(self, s3_case: BucketCase) -> BucketCase:
        return s3_case

    @pytest.fixture
    def store(self, general_store: Store) -> Store:
        return general_store


class TestCounting(TestMemory):
    """A store around a store is a store."""

    @pytest.fixture
    def store(self) -> Store:
        return CountingStore(MemoryStore())


class TestFaultyWithoutFaults(TestMemory):
    @pytest.fixture
    def store(self) -> Store:
        return FaultyStore(MemoryStore())


def test_a_shadowed_conformance_test_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"_Sloppy\.test_empty_object hides a test"):

        class _Sloppy(StoreTests):
            def test_empty_object(self) -> None:  # type: ignore[override]
                """Look as if it passed."""


def test_a_shadowed_test_of_a_store_in_between_is_an_error_too() -> None:
    with pytest.raises(TypeError, match="test_empty_object"):

        class _Sloppy(_TestBucket):
            def test_empty_object(self) -> None:  # type: ignore[override]
                """Look as if it passed."""


def test_a_conformance_test_is_replaced_on_purpose() -> None:
    class _Careful(StoreTests):
        @overrides
        def test_empty_object(self) -> None:  # type: ignore[override]
            """Know why."""

        def test_of_its_own(self) -> None:
            """Add to the others."""

    assert "test_empty_object" in vars(_Careful)
