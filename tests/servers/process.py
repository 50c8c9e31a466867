"""Start a program for the tests, wait until it answers, and stop exactly that program."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["answering", "running"]

_START_SECONDS = 60.0
_STOP_SECONDS = 5.0
_ATTEMPTS = 3


@contextlib.contextmanager
def running(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Run a program for the length of a ``with`` block.

    Parameters
    ----------
    command
        Program and arguments; no shell is involved.

    Yields
    ------
    process, log
        The process, and the open file that takes its stdout and stderr.

    Notes
    -----
    Where util-linux has ``setpriv`` the kernel also stops the program when the tests are killed.
    """
    setpriv = shutil.which("setpriv")
    leash = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*leash, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process, log
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def answering(command_for: Callable[[int], Sequence[str]]) -> Iterator[int]:
    """Run a server on a free loopback port.

    Parameters
    ----------
    command_for
        Gives the command that serves on a port of 127.0.0.1.

    Yields
    ------
    port
        The port; it accepts connections.

    Raises
    ------
    RuntimeError
        The server did not start; the message carries what it printed.

    Notes
    -----
    A program that only takes a number, not a socket, can lose its port to another process between
    the choice and the bind. It then ends at once, so it is started again on another port.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        port = _free_port()
        command = command_for(port)
        with running(command) as (process, log):
            if _accepts(process, port):
                yield port
                return
            if process.poll() is None or attempt == _ATTEMPTS:
                log.seek(0)
                said = log.read()[-2000:].decode(errors="replace")
                msg = f"{command[0]} does not answer on 127.0.0.1:{port} (exit code {process.poll()}): {said}"
                raise RuntimeError(msg)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _accepts(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return process.poll() is None
    return False
