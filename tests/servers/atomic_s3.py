"""Serve an in-memory S3 whose conditional PUT elects exactly one winner.

moto's own server answers requests in parallel and looks before it writes, so now and then two
racers both create a key. Here one request at a time reaches moto: what it decides is atomic.

Run as ``python atomic_s3.py PORT``.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import TYPE_CHECKING

from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class OneAtATime:
    """A WSGI application that lets one request at a time into another.

    Parameters
    ----------
    application
        The application that must never run twice at once.

    Notes
    -----
    The body is read before the lock is taken and the reply is sent after it is given back, so a slow client delays
    only itself.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._turn = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = _whole_body(environ)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        with self._turn:
            reply = self._application(environ, start_response)
            return [b"".join(reply)]


class QuietHandler(WSGIRequestHandler):
    """Keep connections open, send small packets at once and write no access log."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def serve(port: int) -> None:
    """Serve until the process is stopped.

    Parameters
    ----------
    port
        The port on 127.0.0.1.
    """
    # moto reads this when it is imported: a key may look like a host name without being a bucket
    os.environ["S3_IGNORE_SUBDOMAIN_BUCKETNAME"] = "true"
    from moto.moto_server.werkzeug_app import create_backend_app

    server = make_server(
        "127.0.0.1", port, OneAtATime(create_backend_app("s3")), threaded=True, request_handler=QuietHandler
    )
    server.serve_forever()


def _whole_body(environ: WSGIEnvironment) -> bytes:
    source = environ["wsgi.input"]
    # a body without a length comes in chunks, which werkzeug decodes up to an end of file
    length = -1 if environ.get("wsgi.input_terminated") else int(environ.get("CONTENT_LENGTH") or 0)
    body: bytes = source.read(length)
    return body


if __name__ == "__main__":
    serve(int(sys.argv[1]))
