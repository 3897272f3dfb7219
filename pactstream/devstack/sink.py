"""A receiver of pages on this machine: what a team's own would be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any, NamedTuple

from pactstream.devstack import ports

_MAX_BYTES = 4_000_000


class Sink(NamedTuple):
    """Where it listens, and the notices in the order in which they came."""

    url: str
    notices: Queue[dict[str, Any]]


@contextmanager
def receiving() -> Iterator[Sink]:
    """A sink that listens on loopback until the context is left."""
    notices: Queue[dict[str, Any]] = Queue()
    with ThreadingHTTPServer((ports.LOOPBACK, 0), partial(_Handler, notices)) as server:
        sink = Sink(f"http://{ports.LOOPBACK}:{server.server_address[1]}/pages", notices)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, notices: Queue[dict[str, Any]], *args: Any) -> None:
        self._notices = notices
        super().__init__(*args)

    def do_POST(self) -> None:
        """Keep a notice."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MAX_BYTES:
            self.send_error(413)
            return
        try:
            notice = json.loads(self.rfile.read(int(length)))
        except ValueError:
            self.send_error(400)
            return
        self._notices.put(notice)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""
