"""The oracle's HTTP side: who may ask what, in which form it comes, and what caches may keep."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import anyio
from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from oracle_api import examples, pages, report
from oracle_api.feed import STREAM_SECONDS, Feed
from oracle_api.negotiation import JSON, JWT, preferred, unchanged
from oracle_api.parts import Parts
from oracle_api.reports import Form
from pactstream import __version__, docs_page, web

_KEYS_MAX_AGE_SECONDS = 300
_MAX_LOG = 65_535
_SEND_GRACE_SECONDS = 30

AgentId = Annotated[UUID, Path(alias="agentId", description="The agent's UUID.")]

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "Not a UUID, or a parameter out of range."},
    429: {"description": "Too many requests from this address; `Retry-After` says when to come back."},
    503: {"description": "The ledger cannot be read right now; `Retry-After` says when to come back."},
}


def create_app(parts: Parts) -> FastAPI:
    """The application. Public: no credentials, everything it shows stands in the public ledger."""
    app = FastAPI(
        title="Pactstream trust oracle",
        version=__version__,
        summary="Signed reports of how an agent kept its pacts. Check them with the public keys alone.",
        docs_url=None,
        redoc_url=None,
    )

    async def ready() -> bool:
        return parts.standings.ready and await parts.store.answers()

    web.install(app, ready)
    # Counterparties' pages may read everything: nothing here depends on who asks.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET"],
        allow_headers=["If-None-Match", "Last-Event-ID", "X-Request-Id"],
        expose_headers=["ETag", "Retry-After", "X-RateLimit-Reset", "X-Request-Id"],
    )

    def limited(request: Request) -> None:
        parts.limiter.check(_caller(parts, request))

    limit = [Depends(limited)]
    app.include_router(_trust(parts), dependencies=limit)
    app.include_router(_public(parts), dependencies=limit)
    app.include_router(pages.router(parts.demo_agent), dependencies=limit)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """Have the OpenAPI document say what is answered, 400 and never 422, and show it at `/docs`."""
    of_fastapi = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = of_fastapi()
            for operations in document["paths"].values():
                for operation in operations.values():
                    operation["responses"].pop("422", None)
            document.pop("components", None)  # nothing but the form of 422
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    app.include_router(docs_page.router(openapi))


def _trust(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["Trust"], responses=_ERRORS)

    @router.get(
        "/api/v1/trust/{agentId}",
        summary="An agent's signed trust report",
        response_class=Response,
        responses={
            200: {
                "description": "JSON with `signatures`, or a compact JWT.",
                "content": {JSON: {"example": examples.REPORT}, JWT: {}},
            },
            304: {"description": "The caller has it already: `If-None-Match` names its `ETag`."},
            404: {"description": "Nothing is known of this agent."},
        },
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
        return _conditional(form, if_none_match, media_type, caching)

    @router.get(
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
        address = _caller(parts, request)
        parts.feed.take_place(address)
        seen = int(last_event_id) if last_event_id.isdecimal() and len(last_event_id) < 20 else 0
        return _Stream(parts.feed, address, agent_id, seen)

    return router


def _public(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["Verification"], responses=_ERRORS)

    @router.get("/.well-known/jwks.json", summary="Public keys of the reports", response_class=Response)
    async def keys(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """A JWK Set (RFC 7517). Earlier keys stay listed with `retiredAt`, for reports they signed before."""
        caching = {"Cache-Control": f"public, max-age={_KEYS_MAX_AGE_SECONDS}"}
        return _conditional(parts.jwks, if_none_match, "application/jwk-set+json", caching)

    @router.get(
        "/api/v1/ledger/checkpoint",
        summary="The newest checkpoint of each log, or of one",
        response_class=Response,
        responses={
            200: {
                "description": "All of them; with `log` the signed note of that one as text.",
                "content": {JSON: {}, "text/plain": {"example": examples.NOTE}},
            },
            404: {"description": "This log has no checkpoint."},
        },
    )
    async def checkpoint(
        log: Annotated[int | None, Query(ge=0, le=_MAX_LOG, description="Number of a log.")] = None,
    ) -> Response:
        """C2SP tlog-checkpoints: origin, size and root of a log, signed by the ledger's key."""
        caching = {"Cache-Control": f"public, max-age={parts.max_age_seconds}"}
        if log is None:
            found = await parts.store.checkpoints()
            entries = [report.checkpoint_entry(one, parts.deployment) for one in found]
            return JSONResponse({"checkpoints": entries}, headers=caching)
        one = await parts.store.checkpoint(log)
        if one is None:
            raise web.Refused(404, "this log has no checkpoint")
        return Response(one.note, media_type="text/plain", headers=caching)

    return router


def _caller(parts: Parts, request: Request) -> str:
    return web.address_block(web.client_address(request, parts.trusted_proxies))


def _conditional(form: Form, if_none_match: str | None, media_type: str, headers: dict[str, str]) -> Response:
    headers = headers | {"ETag": form.etag}
    if unchanged(if_none_match, form.etag):
        return Response(status_code=304, headers=headers)
    return Response(form.body, media_type=media_type, headers=headers)


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
