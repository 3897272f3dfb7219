"""Serves `Preflight` to gateways over HTTP, in a thread of its own beside the loop."""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from threading import Event
from typing import Final, TypeVar

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from evaluator_worker import metrics
from evaluator_worker.preflight import Conflict, Preflight, TooMany
from pactstream.errors import Fatal, InvalidInput, PactstreamError, Retryable
from pactstream.kafka.processor import NotHeld
from pactstream.preflight.settings import PreflightSettings
from pactstream.preflight.wire import ASK, CANCEL, NOT_HELD, Cancellation, Question, Refusal

MAX_BODY_BYTES: Final = 256 * 1_024
"""Parameters of 64 KiB, and room for whatever else a gateway lets through."""

_GRACE_SECONDS: Final = 2
_KEEP_SECONDS: Final = 75  # longer than gateways do, so that it is they who hang up
_STATUS: Final[list[tuple[type[Exception], int]]] = [
    (NotHeld, NOT_HELD),
    (Conflict, 409),
    (TooMany, 429),
    (InvalidInput, 400),
    (TimeoutError, 503),
    (Retryable, 503),
]
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")

_log = logging.getLogger(__name__)
T = TypeVar("T")


class PreflightServer:
    """An HTTP server; its address is had at once, so that the group can show it."""

    def __init__(self, settings: PreflightSettings, host: str, port: int, advertised_host: str) -> None:
        """Listen. Raises Fatal: the address cannot be had."""
        self._settings = settings
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server((host, port), family=family, backlog=512)
        except OSError as error:
            reason = str(error.strerror).partition(" (")[0]
            raise Fatal(
                f"cannot listen on {host}:{port}: {reason}; set another port or stop its user"
            ) from None
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        scheme = "http" if settings.preflight_ssl_certificate is None else "https"
        name = advertised_host or (socket.gethostname() if host in ("0.0.0.0", "::") else host)  # noqa: S104
        name = f"[{name}]" if ":" in name else name
        self.address = f"{scheme}://{name}:{self._listener.getsockname()[1]}"

    def serve(self, preflight: Preflight, stop: Event) -> None:
        """Answer until `stop` is set."""
        secret = self._settings.preflight_secret.get_secret_value()
        certificate, key = self._settings.preflight_ssl_certificate, self._settings.preflight_ssl_key
        config = uvicorn.Config(
            application(preflight, secret),
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            ssl_certfile=None if certificate is None else str(certificate),
            ssl_keyfile=None if key is None else str(key),
        )
        _log.info("answers pre-flight questions at %s", self.address)
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(self._until_stopped(uvicorn.Server(config), stop))

    async def _until_stopped(self, server: uvicorn.Server, stop: Event) -> None:
        serving = asyncio.create_task(server.serve(sockets=[self._listener]))
        await asyncio.to_thread(stop.wait)
        server.should_exit = True
        await serving


def may_serve(settings: PreflightSettings, host: str) -> bool:
    """Whether questions may be answered on this address: without a secret, on loopback only."""
    if settings.preflight_secret.get_secret_value():
        return True
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def application(preflight: Preflight, secret: str) -> Starlette:
    """The HTTP side; every request shows the secret, if there is one."""
    expected = f"Bearer {secret}".encode()

    def route(path: str, kind: type[T], answer: Callable[[T], Awaitable[msgspec.Struct]]) -> Route:
        decoder = msgspec.json.Decoder(kind)

        async def respond(request: Request) -> Response:
            shown = request.headers.get("authorization", "").encode()
            if secret and not hmac.compare_digest(shown, expected):
                return _refused(401, "the secret is not ours")
            try:
                found = await answer(decoder.decode(await _body(request)))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                return _refused(400, str(error))
            except (PactstreamError, TimeoutError) as error:
                return _failed(error)
            return Response(_ENCODER.encode(found), media_type="application/json")

        return Route(path, respond, methods=["POST"])

    return Starlette(
        routes=[route(ASK, Question, preflight.ask), route(CANCEL, Cancellation, preflight.cancel)]
    )


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise InvalidInput(f"the body is larger than {MAX_BODY_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _failed(error: Exception) -> Response:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if status == 500:
        _log.error("%s: %s", type(error).__name__, error)
    reason = "the hold was not certain in time" if isinstance(error, TimeoutError) else str(error)
    metrics.PREFLIGHTS.labels("refused" if status < 500 else "failed").inc()
    return _refused(status, reason)


def _refused(status: int, reason: str) -> Response:
    return Response(_ENCODER.encode(Refusal(reason)), status, media_type="application/json")
