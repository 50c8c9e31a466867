"""Bytes of one file on a disk: opened without waiting, read with few system calls."""

from __future__ import annotations

import errno
import os
import stat

NONBLOCK = getattr(os, "O_NONBLOCK", 0)
"""To open a pipe waits for somebody who writes into it, for ever if nobody does."""

READ_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | NONBLOCK
"""An item of a node lies in the node: a link in its place is not followed."""

NOT_A_FILE_ERRNOS = {errno.ENXIO, errno.EOPNOTSUPP, errno.ESPIPE}
"""What systems say of a socket that is opened, and of a pipe that is read from its middle."""

_SMALL = 64 << 10
"""Bytes that are asked for before anybody knows how many there are."""


def open_file(path: str, flags: int) -> int:
    """Open a file without waiting; refuse what is none, such as a pipe, whose bytes are nobody's result."""
    try:
        descriptor = os.open(path, flags | NONBLOCK)
    except BlockingIOError:
        # a file server has lent it to somebody, and takes it back for whoever waits
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
    """Return the error for what lies in a file's place and is none."""
    return OSError(errno.EINVAL, "a pipe, socket or device is no item; remove it or store a file in its place", path)


def read_range(descriptor: int, start: int, end: int | None) -> bytes:
    """Return the range ``[start, end)`` of an open file; a negative `start` counts from its end."""
    if start >= 0:
        most = _SMALL if end is None else max(0, min(_SMALL, end - start))
        data = os.pread(descriptor, most, start)
        if start + len(data) == end or (len(data) < most and not os.pread(descriptor, 1, start + len(data))):
            return data
    size = os.fstat(descriptor).st_size
    first = max(0, size + start) if start < 0 else start
    count = max(0, (size if end is None else min(end, size)) - first)
    data = os.pread(descriptor, count, first)
    # one call reads at most 2 GiB
    while data and len(data) < count and (more := os.pread(descriptor, count - len(data), first + len(data))):
        data += more
    return data
