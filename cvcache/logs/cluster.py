"""Bring the output of tasks on the workers of a dask cluster into the log of the step that submitted them.

Each task that a step submits has the name of the log as an annotation. A plugin on each worker reads it when a task
logs or prints, and sends the text to the client as an event of the scheduler. The last text of a task is sent before
the message that the task has ended, over the same connection, so it arrives before the result does. distributed is
never imported here: it is used only if the script has imported it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

from cvcache.logs.route import PLUGIN_NAME, Log
from cvcache.logs.worker import ANNOTATION, clients

logger = logging.getLogger("cvcache")

_logs_by_name: dict[str, Log] = {}
_topic = f"cvcache-log-{os.urandom(8).hex()}"


@contextlib.contextmanager
def collect_worker_logs(log: Log, name: str) -> Iterator[None]:
    """Write the output of tasks that are submitted in this context to `log`; `name` is unique among all attempts.

    Does nothing without a client of a cluster in this process, or with an asynchronous client.
    """
    client = _client()
    if client is None:
        yield
        return
    from dask.base import annotate

    _subscribe(client)
    _logs_by_name[name] = log
    try:
        with annotate(**{ANNOTATION: f"{_topic}/{name}"}):
            yield
    finally:
        _logs_by_name.pop(name, None)


def _client() -> Any:
    """Return the current synchronous client; None if there is none."""
    module = sys.modules.get("distributed.client")
    if module is None:
        return None
    try:
        client = module.Client.current()
    except ValueError:
        return None
    return client if client.status == "running" and not client.asynchronous else None


def _subscribe(client: Any) -> None:
    """Subscribe to the output of the workers of `client`, once per client; one round trip."""
    if client in clients:
        return
    clients.add(client)
    try:
        client.subscribe_topic(_topic, _on_event)
        client.register_plugin(_plugin())
    except Exception as error:  # noqa: BLE001 - without the output of its workers a step is still valid
        clients.discard(client)
        logger.warning("what the workers of %s say is not kept (%s)", client, error)


def _on_event(event: tuple[float, dict[str, str]]) -> None:
    _, message = event
    if log := _logs_by_name.get(message["log"]):
        lines = message["text"].removesuffix("\n").split("\n")
        log.write("".join(f"[{message['worker']}] {line}\n" for line in lines))


def _plugin() -> Any:
    """Return the plugin for the workers; a local class is pickled by value, so a worker without cvcache starts too."""

    class StepLogs(sys.modules["distributed"].WorkerPlugin):  # type: ignore[misc]  # not imported, so it has no type
        name = PLUGIN_NAME
        idempotent = True
        log_of: Any = None

        def setup(self, worker: Any) -> None:
            try:
                from cvcache.logs.worker import WorkerLogSender
            except ImportError:
                return
            sender = WorkerLogSender(worker)
            self.log_of, self.transition, self.teardown = sender.log_of, sender.transition, sender.teardown

    return StepLogs()
