"""Fork workers to order, so that a process costs milliseconds and starts without anything open.

Orders come as lines of JSON on stdin, reports leave as lines of JSON on stdout, each in one atomic
write. The end of stdin is the end of the nursery and of all its workers.

Run as ``python -m processes.nursery MODULE ...``; the modules are imported for the workers, too.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import select
import signal
import sys
import traceback
from typing import Any, NoReturn

# imported for the workers, which inherit it: from here on nothing is loaded, and nothing is open yet
from processes import worker

_ERROR_CHARACTERS = 1500
"""A report must fit into one atomic write to a pipe, 4096 bytes."""


class Nursery:
    """The parent of all workers.

    Parameters
    ----------
    reports
        The descriptor that reports go to.
    """

    def __init__(self, reports: int) -> None:
        self._reports = reports
        self._pids: dict[int, int] = {}
        self._names: dict[int, int] = {}

    def serve(self) -> None:
        """Carry out orders until stdin ends."""
        wake, bell = os.pipe()
        os.set_blocking(bell, False)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        pending = b""
        while True:
            ready, _, _ = select.select([0, wake], [], [])
            if wake in ready:
                os.read(wake, 4096)
                self._look_after()
            if 0 in ready:
                data = os.read(0, 65536)
                if not data:
                    break
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)

    def _obey(self, order: dict[str, Any]) -> None:
        number = order["number"]
        if "signal" in order:
            # not yet waited for, so the number still belongs to this worker
            if number in self._pids:
                os.kill(self._pids[number], order["signal"])
            return
        pid = os.fork()
        if pid == 0:
            self._live(number, order["task"], order["arguments"])
        self._pids[number] = pid
        self._names[pid] = number
        _report(self._reports, number, "born", pid=pid)

    def _look_after(self) -> None:
        while self._pids:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                # only now can it be woken; what it said before it stopped itself may be older
                _report(self._reports, self._names[pid], "stopped")
                continue
            number = self._names.pop(pid)
            del self._pids[number]
            _report(self._reports, number, "gone", status=os.waitstatus_to_exitcode(status))

    def _live(self, number: int, task: str, arguments: dict[str, Any]) -> NoReturn:
        """Be a worker; never returns."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        report = functools.partial(_report, self._reports, number)
        status = 1
        try:
            worker.TASKS[task](report, **arguments)
            status = 0
        except BaseException as error:  # noqa: BLE001  # whatever it is, the test wants to know
            text = "".join(traceback.format_exception(error))
            report("error", type=type(error).__name__, text=text[-_ERROR_CHARACTERS:])
        finally:
            with contextlib.suppress(OSError):
                sys.stderr.flush()
            os._exit(status)


def _report(descriptor: int, number: int, event: str, /, **fields: Any) -> None:
    os.write(descriptor, json.dumps({"number": number, "event": event, **fields}).encode() + b"\n")


def _main() -> None:
    reports = os.dup(1)
    # what a worker prints goes to the log, not between the reports
    os.dup2(2, 1)
    for module in sys.argv[1:]:
        importlib.import_module(module)
    Nursery(reports).serve()


if __name__ == "__main__":
    _main()
