"""Signed reports, one or many at once, and the events behind them as they happen."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from uuid import UUID

import anyio
import msgspec
from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse
from msgspec import Meta
from starlette.types import Receive, Scope, Send

from oracle_api import examples
from oracle_api.bodies import read_json
from oracle_api.common import ERRORS, UNKNOWN, AgentId, caller, conditional
from oracle_api.feed import STREAM_SECONDS, Feed
from oracle_api.negotiation import JSON, JWT, preferred
from oracle_api.parts import Parts
from pactstream import web

MAX_BATCH = 100
_SEND_GRACE_SECONDS = 30
_REPORT_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "JSON with `signatures`, or a compact JWT.",
        "content": {JSON: {"example": examples.REPORT}, JWT: {}},
    },
    304: {"description": "The caller has it already: `If-None-Match` names its `ETag`."},
    **UNKNOWN,
}


class _Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    agent_ids: Annotated[list[UUID], Meta(min_length=1, max_length=MAX_BATCH)]


def router(parts: Parts) -> APIRouter:
    """Reports, alone and many at once, and events as they happen."""
    routes = APIRouter(tags=["Trust"], responses=ERRORS)

    @routes.get(
        "/api/v1/trust/{agentId}",
        summary="An agent's signed trust report",
        response_class=Response,
        responses=_REPORT_ANSWERS,
    )
    async def trust(
        agent_id: AgentId,
        accept: Annotated[str, Header(description=f"`{JSON}` or `{JWT}`.")] = JSON,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Score and its confidence, pact compliance, recent violations, ledger head and checkpoint, freshness.

        Verify it before believing it: keys at `/.well-known/jwks.json`, issuer pinned, `expiresAt` not past.
        """
        issued = await parts.reports.get(agent_id)
        if issued is None:
            raise web.Refused(404, "nothing is known of this agent")
        media_type = preferred(accept)
        form = issued.jwt if media_type == JWT else issued.json
        caching = {"Cache-Control": f"public, max-age={parts.max_age_seconds}", "Vary": "Accept"}
        return conditional(form, if_none_match, media_type, caching)

    @routes.get(
        "/api/v1/trust/{agentId}/events",
        summary="An agent's events as they happen",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Server-sent events.",
                "content": {"text/event-stream": {"example": examples.STREAM}},
            }
        },
    )
    async def events(
        agent_id: AgentId,
        request: Request,
        last_event_id: Annotated[str, Header(description="Sequence number of the last event seen.")] = "",
    ) -> Response:
        """The latest thirty events (`events`) and the figures over them (`summary`), then each as it comes.

        An agent nothing is known of yet may be watched: its first event will show.
        """
        address = caller(parts, request)
        parts.feed.take_place(address)
        seen = int(last_event_id) if last_event_id.isdecimal() and len(last_event_id) < 20 else 0
        return _Stream(parts.feed, address, agent_id, seen)

    _batch(routes, parts)
    return routes


def _batch(routes: APIRouter, parts: Parts) -> None:
    body: dict[str, Any] = {
        "required": True,
        "content": {JSON: {"example": {"agentIds": [examples.REPORT["agentId"]]}}},
    }

    @routes.post(
        "/api/v1/trust/batch",
        summary="The signed reports of up to a hundred agents",
        response_class=Response,
        openapi_extra={"requestBody": body},
        responses={
            200: {
                "description": "Reports in the order asked for, and the ids that nothing is known of.",
                "content": {JSON: {"example": {"reports": [examples.REPORT], "unknown": []}}},
            },
            413: {"description": "The body is longer than 64 KiB."},
        },
    )
    async def batch(request: Request) -> Response:
        """Each report is signed by itself, as if asked for alone. Each id counts as a request."""
        wanted = list(dict.fromkeys((await read_json(request, _Batch)).agent_ids))
        parts.limiter.check(caller(parts, request), len(wanted) - 1)  # one was counted at the door
        found = await asyncio.gather(*(parts.reports.get(one) for one in wanted))
        reports = [one.json.body for one in found if one is not None]
        unknown = [str(one) for one, issued in zip(wanted, found, strict=True) if issued is None]
        content = b'{"reports":[%s],"unknown":%s}' % (b",".join(reports), msgspec.json.encode(unknown))
        return Response(content, media_type=JSON, headers={"Cache-Control": "no-store"})


class _Stream(StreamingResponse):
    """A stream that gives its place back whatever becomes of it."""

    def __init__(self, feed: Feed, address: str, agent_id: UUID, last_sequence: int) -> None:
        super().__init__(
            feed.stream(agent_id, last_sequence),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        self._feed = feed
        self._address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            # The stream ends by itself before; a reader that takes nothing would hold up the sending for ever.
            with anyio.move_on_after(STREAM_SECONDS + _SEND_GRACE_SECONDS):
                await super().__call__(scope, receive, send)
        finally:
            self._feed.leave_place(self._address)
