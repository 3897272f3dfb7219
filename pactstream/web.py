"""What the HTTP services share: the form of errors, request ids, metrics, limits, health."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from throttled import MemoryStore, Throttled, per_min

from pactstream import clock, ids, metrics
from pactstream.errors import Backpressure, Detail, InvalidInput, PactstreamError, Retryable

CODES = {
    400: "INVALID_INPUT",
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    406: "NOT_ACCEPTABLE",
    408: "TIMEOUT",
    409: "CONFLICT",
    413: "TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "INVALID_INPUT",
    429: "RATE_LIMITED",
    431: "TOO_LARGE",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
API_POLICY = "default-src 'none'; frame-ancestors 'none'"
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": API_POLICY,
}
"""Headers of every answer that keep a browser from guessing."""
KEY_HEADER = "X-Pact-Key"
_SAFE_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SAFE_HEADERS.items()]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_log = logging.getLogger(__name__)

_REQUESTS = metrics.counter("pactstream_http_requests_total")
_SECONDS = metrics.histogram("pactstream_http_request_seconds")


class Refused(PactstreamError):
    """A request answered with an error: `status` decides the wire code, `headers` go along."""

    def __init__(
        self,
        status: int,
        message: str,
        details: Sequence[Detail] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.details = tuple(details)
        self.headers = dict(headers or {})


def error_body(status: int, message: str, details: Sequence[Detail] = ()) -> dict[str, Any]:
    """The wire form of an error: `{"error", "code", "details": [{"path", "message"}]}`; no details, no key."""
    body: dict[str, Any] = {"error": message, "code": CODES.get(status, CODES[500])}
    if details:
        body["details"] = [{"path": one.path, "message": one.message} for one in details]
    return body


def error_response(
    status: int, message: str, details: Sequence[Detail] = (), headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An error as a response that no cache may keep."""
    return JSONResponse(
        error_body(status, message, details), status, {"Cache-Control": "no-store", **(headers or {})}
    )


def retry_after(seconds: float) -> dict[str, str]:
    """`Retry-After` in whole seconds, rounded up, at least 1 (RFC 9110, section 10.2.3)."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


class RateLimiter:
    """A token bucket for each key in this process: `burst` at once, then `per_minute`.

    GCRA is the token bucket in continuous time; the library's `token_bucket` counts whole seconds, and a client
    slower than one a second would starve. At most `max_keys` are kept; the longest unused makes room.
    """

    def __init__(self, per_minute: int, burst: int, max_keys: int = 100_000) -> None:
        store = MemoryStore(options={"MAX_SIZE": max_keys})
        self._throttled = Throttled(using="gcra", quota=per_min(per_minute, burst=burst), store=store)

    def check(self, key: str, cost: int = 1) -> None:
        """Take `cost` tokens of `key`.

        Raises:
            Refused: 429 with `Retry-After` and `X-RateLimit-Reset` (both seconds from now).
        """
        result = self._throttled.limit(key, cost)
        if result.limited:
            reset = {"X-RateLimit-Reset": str(math.ceil(result.state.reset_after))}
            raise Refused(429, "too many requests", headers=retry_after(result.state.retry_after) | reset)


def client_address(request: Request, trusted_proxies: int = 0) -> str:
    """The caller's address; behind `trusted_proxies` proxies, the one that the outermost of them saw.

    Each proxy appends to `X-Forwarded-For` the address it was called from; what stands further left was written
    by the caller and proves nothing.
    """
    seen = [request.client.host if request.client else "unknown"]
    if trusted_proxies:
        forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
        seen = [one.strip() for one in forwarded.split(",") if one.strip()] + seen
    return seen[max(0, len(seen) - 1 - trusted_proxies)]


def presented_key(request: HTTPConnection) -> str:
    """The API key that a request presents; empty where it presents none.

    Raises:
        Refused: it presents two. RFC 6750, section 2: choosing between them would be guessing.
    """
    keys = request.headers.getlist(KEY_HEADER)
    token = bearer(request)
    if len(keys) + (token is not None) > 1:
        raise Refused(400, f"present one key, in {KEY_HEADER} or in Authorization")
    return keys[0] if keys else token or ""


def bearer(request: HTTPConnection) -> str | None:
    """The token of `Authorization: Bearer`; another scheme is a proxy's business and none of ours."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def require_json(request: Request) -> None:
    """Nothing, if the body is declared to be JSON, or nothing is declared.

    Raises:
        Refused: 415.
    """
    declared = request.headers.get("content-type", "")
    kind = declared.partition(";")[0].strip().lower()
    if kind not in ("", "application/json"):
        raise Refused(415, "Content-Type must be application/json", headers={"Accept": "application/json"})


def address_block(address: str) -> str:
    """What one caller usually has: an IPv4 address, or the /64 of an IPv6 address; other text as it is."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(parsed.ipv4_mapped or ip_network((parsed, 64), strict=False))


def install(app: FastAPI, ready: Callable[[], Awaitable[bool]]) -> None:
    """Give `app` the error form, request ids, metrics, safe headers, `/healthz` and `/readyz`."""
    app.add_exception_handler(PactstreamError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_middleware(Envelope)
    app.include_router(_health(ready))


@lru_cache(maxsize=4_096)  # all three come from fixed sets, and finding a metric by its labels is slow
def observer(method: str, route: str, status: int) -> Callable[[float], None]:
    """What counts one answered request, given its seconds; for what answers outside of an app of `install`."""
    count, seconds = _REQUESTS.labels(method, route, status), _SECONDS.labels(method, route)

    def observe(taken: float) -> None:
        count.inc()
        seconds.observe(taken)

    return observe


class Envelope:
    """Around every request: its id, its metrics, and headers that keep a browser from guessing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with 500 where the application fails before it has begun to."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = clock.monotonic_seconds()
        given_id = request_id(_first(scope["headers"], b"x-request-id").decode("latin-1"))
        scope.setdefault("state", {})["request_id"] = given_id

        begun = False

        async def send_head(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = _enveloped(message.get("headers", ()), given_id)
                # The path itself would make a label for every id that anybody asks for.
                route = getattr(scope.get("route"), "path", "none")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                observer(method, route, message["status"])(clock.monotonic_seconds() - started)
            await send(message)

        try:
            await self._app(scope, receive, send_head)
        except Exception:
            if begun:
                raise  # the head is out: all that is left is to break the connection
            _log.exception("request %s: unexpected failure", given_id)
            await error_response(500, "internal error")(scope, receive, send_head)


def _first(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    """The first header of a name, in lower case as ASGI has them; empty if there is none."""
    return next((value for name, value in headers if name == wanted), b"")


def _enveloped(headers: Iterable[tuple[bytes, bytes]], given_id: str) -> list[tuple[bytes, bytes]]:
    found = [one for one in headers if one[0] != b"x-request-id"]
    names = {name for name, _ in found}
    found.append((b"x-request-id", given_id.encode("latin-1")))
    return found + [one for one in _SAFE_HEADERS if one[0] not in names]


def request_id(given: str) -> str:
    """The id of a request: the caller's own if it is plain, else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else str(ids.uuid7())


def _health(ready: Callable[[], Awaitable[bool]]) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> Response:
        return Response("OK\n", media_type="text/plain")

    @router.get("/readyz")
    async def readyz() -> Response:
        ok = await ready()
        return Response("OK\n" if ok else "not ready\n", 200 if ok else 503, media_type="text/plain")

    return router


async def error_answer(request: Request, error: PactstreamError | HTTPException) -> Response:
    """What an app of `install` answers where a route raises `error`."""
    handler = _on_http if isinstance(error, HTTPException) else _on_error
    return await handler(request, error)


async def _on_error(_: Request, error: Exception) -> Response:
    if isinstance(error, Refused):
        return error_response(error.status, str(error), error.details, error.headers)
    if isinstance(error, InvalidInput):
        return error_response(400, str(error), error.details)
    if isinstance(error, Backpressure):
        return error_response(503, str(error), headers=retry_after(error.retry_after_seconds))
    if isinstance(error, Retryable):
        _log.warning("%s", error)
        return error_response(503, "a part that this needs does not answer; try again", headers=retry_after(1))
    _log.error("%s: %s", type(error).__name__, error)
    return error_response(500, "internal error")


async def _on_invalid(_: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else ()
    details = [Detail(".".join(map(str, one["loc"])), one["msg"]) for one in faults]
    return error_response(400, "the request is not valid", details)


async def _on_http(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return error_response(error.status_code, str(error.detail), headers=error.headers)
