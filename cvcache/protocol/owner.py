"""Who this process is, and whether a recorded owner is provably dead.

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
def _machine(pid: int) -> tuple[str, str, str, str]:
    """Return host, boot id, pid namespace and start time of this process; `pid` renews them after a fork."""
    import socket  # a tenth of what a first verb may cost, once a process

    return socket.gethostname(), _read("/proc/sys/kernel/random/boot_id"), _namespace(), _start_time(pid)


def this_owner(*, record_host: bool = True) -> Owner:
    """Return the identity of the calling thread; without the machine's name if that is not to be recorded."""
    pid = os.getpid()
    host, boot, pidns, start = _machine(pid)
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
    _, boot, pidns, _ = _machine(os.getpid())
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


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of ``/proc/<pid>/stat`` after the command name, which may itself hold spaces."""
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _start_time(pid: int) -> str:
    fields = _stat_fields(pid)
    return fields[19] if len(fields) > 19 else ""  # noqa: PLR2004 - proc(5): field 22, three of them before the list


def _is_zombie(pid: int) -> bool:
    """Whether the process has ended but for its parent's notice; a process lives on while any of its threads does."""
    fields = _stat_fields(pid)
    return bool(fields) and fields[0] in {"Z", "X"} and int(fields[17]) <= 1  # proc(5): field 20, the threads


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def new_id() -> str:
    """Return 16 hexadecimal digits that nobody else has."""
    return os.urandom(8).hex()


def utc_timestamp() -> str:
    """Return the wall clock as ISO 8601 in UTC: for people, never for a decision."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
