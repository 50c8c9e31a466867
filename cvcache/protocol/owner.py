"""The identity of this process, and the proof that a recorded owner is dead.

Only the kernel that ran a process can prove that it has ended: host, boot and process-id namespace
must be ours. In another namespace a live process looks absent.
"""

from __future__ import annotations

import datetime
import functools
import os
import threading

from cvcache.protocol.record import Owner


@functools.cache
def _process_identity(pid: int) -> tuple[str, str, str, str]:
    """Return host, boot id, pid namespace and start time of this process; `pid` renews them after a fork."""
    import socket  # a tenth of what a first verb may cost, once a process

    return socket.gethostname(), _read_proc_file("/proc/sys/kernel/random/boot_id"), _pid_namespace(), _start_time(pid)


def this_owner(*, record_host: bool = True) -> Owner:
    """Return the identity of the calling thread; without the host name unless `record_host`."""
    pid = os.getpid()
    host, boot, pidns, start = _process_identity(pid)
    return Owner(
        host=host if record_host else "",
        boot=boot,
        pidns=pidns,
        pid=pid,
        start=start,
        thread=threading.current_thread().name,
    )


def owner_is_dead(owner: Owner) -> bool:
    """Whether the process of `owner` has provably ended; False whenever that cannot be known here."""
    _, boot, pidns, _ = _process_identity(os.getpid())
    if not boot or not pidns or not owner.start or (owner.boot, owner.pidns) != (boot, pidns):
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    start = _start_time(owner.pid)
    return start not in {"", owner.start} or _is_zombie(owner.pid)


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of ``/proc/<pid>/stat`` after the command name, which may itself hold spaces."""
    return _read_proc_file(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _start_time(pid: int) -> str:
    fields = _stat_fields(pid)
    return fields[19] if len(fields) > 19 else ""  # noqa: PLR2004 - proc(5): field 22, three of them before the list


def _is_zombie(pid: int) -> bool:
    """Whether the process has ended and only waits for its parent; not while one of its threads still runs."""
    fields = _stat_fields(pid)
    return bool(fields) and fields[0] in {"Z", "X"} and int(fields[17]) <= 1  # proc(5): field 20, the threads


def _read_proc_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def new_id() -> str:
    """Return a random id of 16 hexadecimal digits."""
    return os.urandom(8).hex()


def utc_timestamp() -> str:
    """Return the wall clock as ISO 8601 in UTC; it is shown to people and never compared."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
