"""The one request that nearly everybody makes, answered before any framework looks at it.

`GET /api/v1/trust/{agentId}` of a report that is at hand: same bytes, same headers, same limits and metrics as
the route's own answer, which a test compares. Whatever is not exactly that goes the usual way.
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from oracle_api.common import caller
from oracle_api.negotiation import JSON, JWT, preferred, unchanged
from oracle_api.parts import Parts
from oracle_api.reports import Form
from pactstream.web import Refused, error_response

ROUTE: Final = "/api/v1/trust/{agentId}"

_PREFIX = "/api/v1/trust/"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


class _Named:
    """What the metrics take a route's name from."""

    path = ROUTE


class Shortcut:
    """ASGI middleware, inside of what sets request ids, metrics and common headers."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._caching = f"public, max-age={parts.max_age_seconds}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        agent_id = _asked(scope)
        issued = None if agent_id is None else self._parts.reports.at_hand(agent_id)
        if issued is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        scope["route"] = _Named
        try:
            self._parts.limiter.check(caller(self._parts, request))
        except Refused as refused:
            answer = error_response(refused.status, str(refused), headers=refused.headers)
            await answer(scope, receive, send)
            return
        media_type = preferred(request.headers.get("accept", JSON))
        form = issued.jwt if media_type == JWT else issued.json
        known = unchanged(request.headers.get("if-none-match"), form.etag)
        await self._answer(send, form, media_type, known)

    async def _answer(self, send: Send, form: Form, media_type: str, known: bool) -> None:
        headers = [
            (b"cache-control", self._caching),
            (b"vary", b"Accept"),
            (b"etag", form.etag.encode()),
        ]
        if not known:
            headers += [
                (b"content-length", str(len(form.body)).encode()),
                (b"content-type", media_type.encode()),
            ]
        await send({"type": "http.response.start", "status": 304 if known else 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if known else form.body})


def _asked(scope: Scope) -> UUID | None:
    """The agent, if this is the plain request for its report."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    path = scope["path"]
    if not path.startswith(_PREFIX) or not _UUID.fullmatch(path, len(_PREFIX)):
        return None
    return UUID(path[len(_PREFIX) :])
