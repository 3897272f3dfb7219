"""The one request that nearly everybody makes, answered before any framework looks at it.

`GET /api/v1/trust/{agentId}` of a report that is at hand: bytes, headers, limits and metrics are those of the
route's own answer, which a test compares. Whatever is not exactly that goes the usual way.
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oracle_api.common import caller
from oracle_api.negotiation import JSON, JWT, preferred, unchanged
from oracle_api.parts import Parts
from oracle_api.reports import Form
from pactstream import clock, web
from pactstream.errors import PactstreamError

ROUTE: Final = "/api/v1/trust/{agentId}"

_PREFIX = "/api/v1/trust/"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
# With one of these the usual way knows better: answers to other origins, partial ones, preconditions.
_UNUSUAL = frozenset({b"origin", b"range", b"if-match", b"if-range", b"if-unmodified-since"})
_STREAM = "/events"  # whose head comes with no end: GET only
_Headers = list[tuple[bytes, bytes]]


class Shortcut:
    """An ASGI application around the one that answers everything else."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self.parts = parts
        self._observe = {status: web.observer("GET", ROUTE, status) for status in (200, 304)}
        self._common: _Headers = [
            (b"cache-control", f"public, max-age={parts.max_age_seconds}".encode()),
            (b"vary", b"Accept, Origin"),
            *((name.lower().encode(), value.encode()) for name, value in web.SAFE_HEADERS.items()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        started = clock.monotonic_seconds()
        if scope["type"] == "http" and scope["method"] == "HEAD" and not scope["path"].endswith(_STREAM):
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        agent_id = _asked(scope)
        issued = None if agent_id is None else self.parts.reports.at_hand(agent_id)
        given = dict(scope.get("headers", ()))
        if issued is None or len(given) != len(scope["headers"]) or not _UNUSUAL.isdisjoint(given):
            await self._app(scope, receive, self._sampled(scope, send, started))
            return
        try:
            self.parts.limiter.check(caller(self.parts, Request(scope)), 1)
        except PactstreamError:
            # The framework counts again and says so in its own words.
            await self._app(scope, receive, self._sampled(scope, send, started))
            return
        media_type = _media_type(given)
        form = issued.jwt if media_type == JWT else issued.json
        known = given.get(b"if-none-match")
        status = 304 if known is not None and unchanged(known.decode("latin-1"), form.etag) else 200
        headers = self._headers(form, media_type, status, given)
        taken = clock.monotonic_seconds() - started
        self._observe[status](taken)
        self.parts.sampler.observe(status, taken)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": form.body if status == 200 else b""})

    def _sampled(self, scope: Scope, send: Send, started: float) -> Send:
        """`send`, with the head of the answer counted."""
        if scope["type"] != "http":
            return send

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.parts.sampler.observe(message["status"], clock.monotonic_seconds() - started)
            await send(message)

        return counting

    def _headers(self, form: Form, media_type: str, status: int, given: dict[bytes, bytes]) -> _Headers:
        request_id = web.request_id(given.get(b"x-request-id", b"").decode("latin-1"))
        headers = [*self._common, (b"etag", form.etag.encode()), (b"x-request-id", request_id.encode())]
        if status == 200:
            headers.append((b"content-length", str(len(form.body)).encode()))
            headers.append((b"content-type", media_type.encode()))
        return headers


def _without_body(send: Send) -> Send:
    """`send`, for HEAD (RFC 9110, section 9.3.2): the head that GET would get, and no more."""

    async def heads(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return heads


def _asked(scope: Scope) -> UUID | None:
    """The agent, if this is the plain request for its report."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    path = scope["path"]
    if not path.startswith(_PREFIX) or not _UUID.fullmatch(path, len(_PREFIX)):
        return None
    return UUID(path[len(_PREFIX) :])


def _media_type(given: dict[bytes, bytes]) -> str:
    accept = given.get(b"accept")
    return JSON if accept is None or accept == b"*/*" else preferred(accept.decode("latin-1"))
