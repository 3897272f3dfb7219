"""Running a worker process: signals, health and metrics over HTTP, exit codes."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterable
from threading import Event, Thread
from types import FrameType
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from pactstream.errors import Fatal, PactstreamError

EXIT_OK = 0
EXIT_FATAL = 3

_log = logging.getLogger(__name__)


class _QuietHandler(WSGIRequestHandler):
    """Does not log every probe."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


def serve_health(host: str, port: int, ready: Callable[[], bool]) -> WSGIServer:
    """Serve `/healthz`, `/readyz` and `/metrics` from a thread; returns the server, to be shut down.

    Raises:
        Fatal: the address cannot be had.
    """
    metrics = make_wsgi_app()

    def app(environ, start_response):  # type: ignore[no-untyped-def]
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        answers = {"/healthz": True, "/readyz": ready()}
        status = {True: "200 OK", False: "503 Service Unavailable", None: "404 Not Found"}[answers.get(path)]
        start_response(status, [("Content-Type", "text/plain")])
        return [status[4:].encode() + b"\n"]

    try:
        server = make_server(host, port, app, handler_class=_QuietHandler)
    except OSError as error:
        raise Fatal(
            f"cannot listen on {host}:{port}: {error.strerror}; set another port or stop its user"
        ) from None
    Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server


def run(loops: Iterable[Callable[[Event], None]], *, host: str, port: int, ready: Callable[[], bool]) -> int:
    """Run `loops`, a thread each, until SIGTERM or SIGINT or until one fails; returns the exit code.

    When one loop ends, for whatever reason, the others are told to stop: half a service is worse than none,
    because nothing would restart it.
    """
    stop = Event()
    failures: list[BaseException] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        _log.info("%s: finishing", signal.Signals(number).name)
        stop.set()

    def guarded(loop: Callable[[Event], None]) -> None:
        try:
            loop(stop)
        except PactstreamError as error:
            failures.append(error)
            _log.error("%s", error)
        except Exception as error:  # noqa: BLE001 - a bug: say where, stop the process
            failures.append(error)
            _log.exception("unexpected failure")
        finally:
            stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    server = serve_health(host, port, ready)
    threads = [Thread(target=guarded, args=(loop,)) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.shutdown()
    server.server_close()
    return EXIT_FATAL if failures else EXIT_OK
