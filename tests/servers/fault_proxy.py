"""A reverse proxy on loopback that does to a client what a bad day on a network does.

::

    with FaultProxy(server.port, seeded({Fault.LOST: 0.01, Fault.UNAVAILABLE: 0.05}, seed=1)) as proxy:
        filesystem = s3fs.S3FileSystem(**server.options_for(proxy.endpoint))
        ...
    assert proxy.counts[Fault.LOST] > 0

What goes wrong is decided per request by a function, from a seed or from a script, so a run can be
repeated. Standard library only; it serves in a thread of its own.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import enum
import random
import re
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

__all__ = ["Fault", "FaultProxy", "Request", "scripted", "seeded"]

_NO_BODY = re.compile(rb"HTTP/1\.[01] (?:1\d\d|204|304)\b")
_UNAVAILABLE_BODY = b"<Error><Code>SlowDown</Code><Message>injected by the fault proxy</Message></Error>"


class Fault(enum.Enum):
    """What can happen to one request."""

    UNAVAILABLE = "503"
    """Answered 503 at once; the server never sees the request."""
    RESET = "reset"
    """The connection is reset before the server sees the request."""
    LOST = "lost"
    """The server does as told, then the connection is reset instead of the reply."""
    TRUNCATED = "truncated"
    """The reply ends in the middle of its body; a reply without a body passes."""
    DELAYED = "delayed"
    """The request reaches the server late, and is answered."""


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A request as the decision sees it.

    Parameters
    ----------
    number
        1 for the first request through the proxy.
    method
        Such as ``"PUT"``.
    target
        Path and query.
    headers
        Lower-case names.
    """

    number: int
    method: str
    target: str
    headers: Mapping[str, str]


def seeded(rates: Mapping[Fault, float], *, seed: int, only: str = "") -> Callable[[Request], Fault | None]:
    """Decide by a random generator.

    Parameters
    ----------
    rates
        The probability of each fault; their sum is at most 1.
    seed
        The same seed gives the same faults to the same sequence of requests.
    only
        A regular expression searched in ``"METHOD target"``; other requests are left alone and
        draw no number.
    """
    generator = random.Random(seed)
    wanted = re.compile(only)
    faults: list[Fault | None] = [*rates, None]
    weights = [*rates.values(), 1 - sum(rates.values())]

    def decide(request: Request) -> Fault | None:
        if not wanted.search(f"{request.method} {request.target}"):
            return None
        return generator.choices(faults, weights)[0]

    return decide


def scripted(*faults: Fault | None, only: str = "") -> Callable[[Request], Fault | None]:
    """Decide by a list.

    Parameters
    ----------
    *faults
        What happens to the first matching request, the second, ...; nothing happens to later ones.
    only
        A regular expression searched in ``"METHOD target"``; other requests are left alone and
        use up no entry.
    """
    remaining = collections.deque(faults)
    wanted = re.compile(only)

    def decide(request: Request) -> Fault | None:
        if not remaining or not wanted.search(f"{request.method} {request.target}"):
            return None
        return remaining.popleft()

    return decide


class FaultProxy:
    """A reverse proxy in front of one HTTP server, open for the length of a ``with`` block.

    Parameters
    ----------
    upstream_port
        The server's port on 127.0.0.1.
    decide
        Says what happens to a request. It runs in the proxy's thread.
    delay
        Seconds that `Fault.DELAYED` takes.

    Attributes
    ----------
    port, endpoint
        Where to connect to.
    log
        Each request with the fault that was done to it, in order of arrival.
    """

    def __init__(self, upstream_port: int, decide: Callable[[Request], Fault | None], *, delay: float = 0.2) -> None:
        self.log: list[tuple[Request, Fault | None]] = []
        self.port = 0
        self._upstream_port = upstream_port
        self._decide = decide
        self._delay = delay
        self._arrived = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def endpoint(self) -> str:
        """The URL that stands for the server's."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def counts(self) -> collections.Counter[Fault | None]:
        """How often each fault was done; ``None`` counts the requests that passed."""
        return collections.Counter(fault for _, fault in self.log)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _hang_up(self) -> None:
        self._server.close()
        conversations = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for conversation in conversations:
            conversation.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client connection, request after request."""
        over = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.closing(writer), contextlib.suppress(*over):
            while await self._exchange(reader, writer):
                await writer.drain()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; say whether the connection lives on."""
        head = await reader.readuntil(b"\r\n\r\n")
        self._arrived += 1
        request = _parsed(self._arrived, head)
        if request.headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # the request is read whole before anything is done to it: a reset is then about the reply
        body = await _request_body(reader, request.headers)
        fault = self._decide(request)
        self.log.append((request, fault))
        row = len(self.log) - 1
        if fault is Fault.UNAVAILABLE:
            writer.write(_unavailable(request.method))
            return True
        if fault is Fault.RESET:
            return _reset(writer)
        if fault is Fault.DELAYED:
            await asyncio.sleep(self._delay)
        reply_head, reply_body = await self._forward(request, head, body)
        if fault is Fault.LOST:
            return _reset(writer)
        if fault is Fault.TRUNCATED and len(reply_body) > 1:
            writer.write(reply_head + reply_body[: len(reply_body) // 2])
            return False
        if fault is Fault.TRUNCATED:
            self.log[row] = (request, None)
        writer.write(reply_head + reply_body)
        return True

    async def _forward(self, request: Request, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        """Ask the server on a connection of its own; its end is the end of the reply."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        with contextlib.closing(writer):
            writer.write(_with_header(head, b"Connection: close", drop=(b"connection", b"expect")) + body)
            await writer.drain()
            reply_head = await reader.readuntil(b"\r\n\r\n")
            reply_body = await reader.read()
        return self._framed(request.method, reply_head, reply_body), reply_body

    def _framed(self, method: str, head: bytes, body: bytes) -> bytes:
        """Make a reply that ended with its connection end with its length, and point back here."""
        there, here = (f"127.0.0.1:{port}".encode() for port in (self._upstream_port, self.port))
        head = head.replace(there, here)
        bodiless = method == "HEAD" or _NO_BODY.match(head)
        if bodiless or re.search(rb"(?im)^(?:content-length|transfer-encoding):", head):
            return _with_header(head, b"Connection: keep-alive", drop=(b"connection",))
        return _with_header(head, b"Content-Length: %d" % len(body), drop=(b"connection",))


def _parsed(number: int, head: bytes) -> Request:
    first, *rest = head.decode("latin-1").strip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in rest)
    return Request(number, method, target, {name.strip().lower(): value.strip() for name, _, value in pairs})


async def _request_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    """Read a body as it was sent, a chunked one with its framing."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    parts: list[bytes] = []
    size = -1
    while size:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        parts += (line, await reader.readexactly(size + len(b"\r\n")))
    return b"".join(parts)


def _with_header(head: bytes, line: bytes, *, drop: tuple[bytes, ...]) -> bytes:
    first, *rest = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [each for each in rest if each.partition(b":")[0].strip().lower() not in drop]
    return b"\r\n".join([first, *kept, line]) + b"\r\n\r\n"


def _unavailable(method: str) -> bytes:
    head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n"
    body = b"" if method == "HEAD" else _UNAVAILABLE_BODY
    return head % len(body) + body


def _reset(writer: asyncio.StreamWriter) -> bool:
    """Close with a RST instead of a FIN, the way a dying machine or a firewall does."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False
