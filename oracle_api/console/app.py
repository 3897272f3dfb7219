"""The console's HTTP side: its own pages and files, the session, what they read, what they pass on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oracle_api.bodies import read_json
from oracle_api.console import assets, ledger_routes, pact_routes, page_routes, read_routes
from oracle_api.console.access import PATH, Visitor, not_confirmed
from oracle_api.console.answers import answer
from oracle_api.console.parts import Parts
from pactstream import __version__, web


def create_app(parts: Parts) -> FastAPI:
    """The application. Nothing but the login page and its files is shown to who is not logged in."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await parts.gateway.close()

    app = FastAPI(
        title="Pactstream console",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )

    async def ready() -> bool:
        return parts.ready() and await parts.rows.answers()

    app.add_middleware(_Frame)
    web.install(app, ready)
    app.include_router(_session(parts), prefix=f"{PATH}/api")
    for routes in (read_routes, page_routes, pact_routes, ledger_routes):
        app.include_router(routes.router(parts), prefix=f"{PATH}/api")
    app.include_router(_nothing_else(), prefix=f"{PATH}/api")
    app.include_router(assets.router(parts.access))

    @app.get("/")
    async def root() -> Response:
        return RedirectResponse(PATH)

    return app


def _session(parts: Parts) -> APIRouter:
    routes = APIRouter()

    @routes.post("/session")
    async def login(request: Request) -> Response:
        parts.access.check_change(request)
        given = await read_json(request, dict[str, str])
        if not parts.ready():
            raise not_confirmed()
        visitor, request.state.cookie = parts.access.login(request, given.get("key", ""))
        return answer(_described(visitor))

    @routes.get("/session")
    async def session(request: Request) -> Response:
        """Whose session it is; null where there is none (any more)."""
        try:
            return answer(_described(parts.visitor(request)))
        except web.Refused as refused:
            if refused.status not in (401, 403):
                raise
            return answer(None)

    @routes.delete("/session")
    async def logout(request: Request) -> Response:
        parts.access.check_change(request)
        await parts.access.farewell(request)
        return Response(status_code=204)

    return routes


def _described(visitor: Visitor) -> dict[str, object]:
    return {
        "tenant": visitor.tenant.name,
        "tenantId": visitor.tenant.tenant_id,
        "key": visitor.key.label,
        "keyId": visitor.key.key_id,
        "scopes": visitor.may_act,
    }


def _nothing_else() -> APIRouter:
    """What is below `/console/api` and is no route is an error, and not the page."""
    routes = APIRouter()

    @routes.api_route("/{rest:path}", methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
    async def nothing(rest: str) -> Response:
        raise web.Refused(404, "no such route")

    return routes


class _Frame:
    """Around every request: answers are kept by nobody, and the session's cookie goes along."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-store")
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                cookie = scope.get("state", {}).get("cookie")
                if cookie:
                    headers.append("Set-Cookie", cookie)
            await send(message)

        await self._app(scope, receive, send_head)
