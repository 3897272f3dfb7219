"""The oracle's HTTP side: who may ask what, in which form it comes, and what caches may keep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware

from oracle_api import (
    ledger_routes,
    pages,
    record_routes,
    status_routes,
    subscription_routes,
    trust_routes,
    verification_routes,
)
from oracle_api.common import caller
from oracle_api.parts import Parts
from oracle_api.shortcut import Shortcut
from pactstream import __version__, docs_page, web


def create_app(parts: Parts) -> Shortcut:
    """The application. Public but for what needs a tenant's key, and then it is the tenant's own."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(one()) for one in parts.background]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    app = FastAPI(
        title="Pactstream trust oracle",
        version=__version__,
        summary="Signed reports of how an agent kept its pacts. Check them with the public keys alone.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )

    async def ready() -> bool:
        return parts.standings.ready and await parts.store.answers()

    web.install(app, ready)
    # Counterparties' pages may read what is public: no header that carries a key is allowed.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "POST"],
        allow_headers=["Content-Type", "If-None-Match", "Last-Event-ID", "X-Request-Id"],
        expose_headers=["ETag", "Retry-After", "X-RateLimit-Reset", "X-Request-Id"],
    )

    def limited(request: Request) -> None:
        parts.limiter.check(caller(parts, request))

    def files_limited(request: Request) -> None:
        parts.file_limiter.check(f"files {caller(parts, request)}")

    limit = [Depends(limited)]
    for routes in (
        trust_routes,
        record_routes,
        status_routes,
        subscription_routes,
        verification_routes,
        ledger_routes,
    ):
        app.include_router(routes.router(parts), dependencies=limit)
    app.include_router(ledger_routes.files(parts), dependencies=[Depends(files_limited)])
    app.include_router(pages.router(parts.demo_agent), dependencies=limit)
    _describe(app)
    return Shortcut(app, parts)


def _describe(app: FastAPI) -> None:
    """Have the OpenAPI document say what is answered, 400 and never 422, and show it at `/docs`."""
    of_fastapi = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = of_fastapi()
            for operations in document["paths"].values():
                for operation in operations.values():
                    operation["responses"].pop("422", None)
            document["components"].pop("schemas", None)  # nothing but the form of 422
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    app.include_router(docs_page.router(openapi))
