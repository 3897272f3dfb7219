"""The gateway's HTTP side."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest_gateway import (
    admin,
    attestations,
    documented,
    pacts,
    page_links,
    pages,
    paging_routes,
    preflight,
    schemas,
)
from ingest_gateway.otlp import route as otlp
from ingest_gateway.parts import Parts
from ingest_gateway.settings import GatewaySettings
from ingest_gateway.telemetry import PATH, Telemetry
from pactstream import __version__, docs_page, schema_files, web
from pactstream.bodies import BodyGuard, Room
from pactstream.errors import PactstreamError

_CORS: dict[str, Any] = {
    "allow_methods": ["GET", "POST", "DELETE"],
    "allow_headers": ["Content-Encoding", "Content-Type", "X-Pact-Key", "X-Request-Id"],
    "expose_headers": ["Retry-After", "X-RateLimit-Reset", "X-Request-Id"],
}
"""What a page of a named origin may do: whatever its key opens, with no cookie and no administrators' key."""


def create_app(parts: Parts, settings: GatewaySettings) -> FastAPI:
    """The application on its parts."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await parts.evaluators.close()
        # Requests are finished by now: what is left is to send what is queued and let go of Kafka.
        await anyio.to_thread.run_sync(parts.close)

    telemetry = Telemetry(parts.access, parts.pacts, parts.publisher, parts.events_limiter)
    limits: dict[str, Any] = {
        "max_bytes": settings.gateway_max_body_bytes,
        "timeout_seconds": settings.gateway_body_timeout_seconds,
        "room": Room(settings.gateway_buffer_bytes),
    }
    origins = [one for one in settings.gateway_cors_origins.split(",") if one]
    hot = BodyGuard(_Hot(telemetry), **limits)
    app = _Gateway(
        hot=web.Envelope(CORSMiddleware(hot, allow_origins=origins, **_CORS) if origins else hot),
        title="Pactstream ingest",
        version=__version__,
        summary="Behavioural events in, verdicts out; pacts, agents and keys.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(BodyGuard, **limits)
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=origins, **_CORS)
    web.install(app, parts.ready)
    app.add_exception_handler(ClientDisconnect, _gone)
    # For every other method, which is 405: `_Hot` takes each POST.
    app.router.routes.append(_NamedRoute(PATH, telemetry.post, methods=["POST"]))
    app.router.routes.append(_NamedRoute(otlp.PATH, otlp.Traces(telemetry).post, methods=["POST"]))
    app.include_router(preflight.router(parts.access, parts.pacts, parts.evaluators, parts.preflight_limiter))
    app.include_router(pacts.router(parts.access, parts.store, parts.write_limiter))
    app.include_router(pacts.public_router())
    app.include_router(admin.router(parts.access, parts.tenancy))
    app.include_router(
        attestations.router(parts.access, parts.issuance, parts.write_limiter, settings.gateway_trusted_proxies)
    )
    if parts.page_links is not None:
        # Before the pages themselves: `links` is no page's id.
        app.include_router(
            page_links.router(parts.page_links, parts.write_limiter, settings.gateway_trusted_proxies)
        )
    app.include_router(pages.router(parts.access, parts.pages, parts.write_limiter))
    app.include_router(paging_routes.router(parts.access, parts.routing))
    app.include_router(schemas.router())
    _describe(app)
    return app


class _Gateway(FastAPI):
    """Takes batches of events past the layers of FastAPI, which cost more than a small batch itself."""

    def __init__(self, *, hot: ASGIApp, **options: Any) -> None:
        super().__init__(**options)
        self._hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hot = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == PATH
        await (self._hot if hot else super().__call__)(scope, receive, send)


class _Hot:
    """Batches of events, answered as the route would."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._take = telemetry.take
        self._route = _NamedRoute(PATH, telemetry.post, methods=["POST"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self._route
        request = Request(scope, receive)
        try:
            status, content = await self._take(request)
        except (PactstreamError, HTTPException) as error:
            await (await web.error_answer(request, error))(scope, receive, send)
        except ClientDisconnect as error:
            await (await _gone(request, error))(scope, receive, send)
        else:
            headers = [(b"content-length", b"%d" % len(content)), (b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": content})


class _NamedRoute(Route):
    """A plain route that tells the metrics its path, as FastAPI's do."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self}


def _describe(app: FastAPI) -> None:
    """Have the OpenAPI document cover the plain route as well, and show it at `/docs`."""
    of_fastapi = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            pact_schema = json.loads(schema_files.read_text("pact.schema.json"))
            app.openapi_schema = documented.complete(of_fastapi(), pact_schema)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    app.include_router(docs_page.router(openapi))


async def _gone(_: Request, __: Exception) -> Response:
    # The client hung up in the middle of its body: nobody reads this.
    return web.error_response(400, "the body was cut off")
