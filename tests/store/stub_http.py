"""An HTTP server on loopback whose every answer is a test's own."""

from __future__ import annotations

import contextlib
import http.server
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Answer", "Call", "answering", "s3_error"]


class Call(NamedTuple):
    """One request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """One reply as it goes out."""

    status: int
    body: bytes = b""
    kind: str = "application/xml"


def s3_error(status: int, code: str, *, condition: str = "") -> Answer:
    """Give the reply of an S3 that reports an error."""
    extra = f"<Condition>{condition}</Condition>" if condition else ""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>said by a stub</Message>{extra}</Error>"
    return Answer(status, body.encode())


@contextlib.contextmanager
def answering(decide: Callable[[Call], Answer]) -> Iterator[str]:
    """Serve what `decide` says for the length of the block, and give the endpoint."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = decide(Call(self.command, self.path, headers, body))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._reply)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
