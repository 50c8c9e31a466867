"""Reading a file: opened without blocking, read with few system calls."""

from __future__ import annotations

import errno
import os
import stat

NONBLOCK = getattr(os, "O_NONBLOCK", 0)
"""Without it, opening a pipe would block until another process writes to it."""

READ_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | NONBLOCK
"""A link in the place of an item is not followed."""

NOT_A_FILE_ERRNOS = {errno.ENXIO, errno.EOPNOTSUPP, errno.ESPIPE}
"""Errors of opening a socket, and of reading a pipe at an offset."""

_FIRST_READ_BYTES = 64 << 10
"""Size of the first read, before the size of the file is known."""


def open_file(path: str, flags: int) -> int:
    """Open a regular file without blocking; raise for anything else, such as a pipe."""
    try:
        descriptor = os.open(path, flags | NONBLOCK)
    except BlockingIOError:
        # another client has a lease on the file: the file server breaks it for a blocking open
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in NOT_A_FILE_ERRNOS:
            raise not_a_file_error(path) from None
        raise
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise not_a_file_error(path)


def not_a_file_error(path: str) -> OSError:
    """Return the error for a path that is a pipe, socket or device."""
    return OSError(errno.EINVAL, "a pipe, socket or device is no item; remove it or store a file in its place", path)


def read_range(descriptor: int, start: int, end: int | None) -> bytes:
    """Return the range ``[start, end)`` of an open file; a negative `start` counts from its end."""
    if start >= 0:
        size_limit = _FIRST_READ_BYTES if end is None else max(0, min(_FIRST_READ_BYTES, end - start))
        data = os.pread(descriptor, size_limit, start)
        if start + len(data) == end or (len(data) < size_limit and not os.pread(descriptor, 1, start + len(data))):
            return data
    size = os.fstat(descriptor).st_size
    offset = max(0, size + start) if start < 0 else start
    count = max(0, (size if end is None else min(end, size)) - offset)
    data = os.pread(descriptor, count, offset)
    # one call reads at most 2 GiB
    while data and len(data) < count and (more := os.pread(descriptor, count - len(data), offset + len(data))):
        data += more
    return data
