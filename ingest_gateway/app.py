"""The gateway's HTTP side."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest_gateway import admin, attestations, documented, pacts, preflight, schemas
from ingest_gateway.bodies import BodyGuard
from ingest_gateway.parts import Parts
from ingest_gateway.settings import GatewaySettings
from ingest_gateway.telemetry import PATH, Telemetry
from pactstream import __version__, docs_page, schema_files, web
from pactstream.errors import PactstreamError


def create_app(parts: Parts, settings: GatewaySettings) -> FastAPI:
    """The application on its parts."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await parts.evaluators.close()
        # Requests are finished by now: what is left is to send what is queued and let go of Kafka.
        await anyio.to_thread.run_sync(parts.close)

    app = FastAPI(
        title="Pactstream ingest",
        version=__version__,
        summary="Behavioural events in, verdicts out; pacts, agents and keys.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    telemetry = Telemetry(parts.access, parts.pacts, parts.publisher, parts.events_limiter)
    app.add_middleware(_Shortcut, telemetry=telemetry)
    app.add_middleware(
        BodyGuard,
        max_bytes=settings.gateway_max_body_bytes,
        timeout_seconds=settings.gateway_body_timeout_seconds,
        buffer_bytes=settings.gateway_buffer_bytes,
    )
    web.install(app, parts.ready)
    app.add_exception_handler(ClientDisconnect, _gone)
    # For every other method, which is 405: `_Shortcut` takes each POST.
    app.router.routes.append(_NamedRoute(PATH, telemetry.post, methods=["POST"]))
    app.include_router(preflight.router(parts.access, parts.pacts, parts.evaluators, parts.preflight_limiter))
    app.include_router(pacts.router(parts.access, parts.store, parts.write_limiter))
    app.include_router(pacts.public_router())
    app.include_router(admin.router(parts.access, parts.tenancy))
    app.include_router(
        attestations.router(parts.access, parts.issuance, parts.write_limiter, settings.gateway_trusted_proxies)
    )
    app.include_router(schemas.router())
    _describe(app)
    return app


class _Shortcut:
    """Takes batches of events past the layers of FastAPI, which cost more than a small batch itself."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._post = telemetry.post
        self._route = _NamedRoute(PATH, telemetry.post, methods=["POST"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        scope["route"] = self._route
        request = Request(scope, receive)
        try:
            response = await self._post(request)
        except (PactstreamError, HTTPException) as error:
            response = await web.error_answer(request, error)
        except ClientDisconnect as error:
            response = await _gone(request, error)
        await response(scope, receive, send)


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
