"""What the workers of a dask cluster say while they work for a step, brought into the step's log.

What a step submits carries the name of its log as an annotation. A plugin on each worker looks it up when a task logs
or prints, and sends the text through the scheduler as an event. A task's last words are sent before the news that it
has ended, and on the same way, so who waited for the result has them. distributed is used only where the script
already does, so it is never imported here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

from cvcache.logs.route import PLUGIN, Log
from cvcache.logs.worker import ANNOTATION, clients

logger = logging.getLogger("cvcache")

_logs: dict[str, Log] = {}
_topic = f"cvcache-log-{os.urandom(8).hex()}"


@contextlib.contextmanager
def heard(log: Log, name: str) -> Iterator[None]:
    """Let what workers say of tasks submitted in this context go to `log`, which is called `name` among all attempts.

    Without a client of a cluster in this process, or with one of asyncio, nothing is done.
    """
    client = _client()
    if client is None:
        yield
        return
    from dask.base import annotate

    _listen(client)
    _logs[name] = log
    try:
        with annotate(**{ANNOTATION: f"{_topic}/{name}"}):
            yield
    finally:
        _logs.pop(name, None)


def _client() -> Any:
    """Return the client that is current; None where distributed is not in use."""
    module = sys.modules.get("distributed.client")
    if module is None:
        return None
    try:
        client = module.Client.current()
    except ValueError:
        return None
    return client if client.status == "running" and not client.asynchronous else None


def _listen(client: Any) -> None:
    """Ask the cluster of `client`, once, to send what its workers say; one round trip."""
    if client in clients:
        return
    clients.add(client)
    try:
        client.subscribe_topic(_topic, _received)
        client.register_plugin(_plugin())
    except Exception as error:  # noqa: BLE001 - a step is not worth less without the words of its workers
        clients.discard(client)
        logger.warning("what the workers of %s say is not kept (%s)", client, error)


def _received(event: tuple[float, dict[str, str]]) -> None:
    _, message = event
    if log := _logs.get(message["log"]):
        lines = message["text"].removesuffix("\n").split("\n")
        log.write("".join(f"[{message['worker']}] {line}\n" for line in lines))


def _plugin() -> Any:
    """Return the plugin of the workers; a local class goes by value, so that a worker without cvcache starts too."""

    class StepLogs(sys.modules["distributed"].WorkerPlugin):  # type: ignore[misc]  # not imported, so without a type
        name = PLUGIN
        idempotent = True
        log_of: Any = None

        def setup(self, worker: Any) -> None:
            try:
                from cvcache.logs.worker import Speaker
            except ImportError:
                return
            speaker = Speaker(worker)
            self.log_of, self.transition, self.teardown = speaker.log_of, speaker.transition, speaker.teardown

    return StepLogs()
