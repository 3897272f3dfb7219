"""The live page: three files of our own, no script or style inside the page, nothing from elsewhere."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import RedirectResponse

from oracle_api.negotiation import unchanged
from oracle_api.reports import form
from pactstream.web import Refused

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSETS = {
    "demo.css": "text/css",
    "demo.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "status.css": "text/css",
}


def router(default_agent: UUID) -> APIRouter:
    """`/demo` and its files."""
    routes = APIRouter(include_in_schema=False)
    page = Template(_read("demo.html").decode())
    assets = {name: form(_read(name)) for name in _ASSETS}

    @routes.get("/")
    async def root() -> Response:
        return RedirectResponse("/demo")

    @routes.get("/demo")
    async def demo(agent: Annotated[UUID | None, Query()] = None) -> Response:
        text = page.substitute(agent=escape(str(agent or default_agent)))
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
        return Response(text, media_type="text/html", headers=headers)

    @routes.get("/demo/{name}")
    async def asset(name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        found = assets.get(name)
        if found is None:
            raise Refused(404, "no such file")
        headers = {"ETag": found.etag, "Cache-Control": "no-cache"}
        if unchanged(if_none_match, found.etag):
            return Response(status_code=304, headers=headers)
        return Response(found.body, media_type=_ASSETS[name], headers=headers)

    return routes


def _read(name: str) -> bytes:
    return files(__name__).joinpath(name).read_bytes()
