"""The console's own files, and its one page: built from `web/` by `make console`, and shipped."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated, Final

from fastapi import APIRouter, Header, Request, Response

from oracle_api.console.access import PATH, Access
from oracle_api.negotiation import unchanged
from oracle_api.reports import Form, form
from pactstream.web import Refused

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
_TYPES: Final = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
_PAGE = "index.html"


def router(access: Access) -> APIRouter:
    """`/console` and what is below it: every path that is no file is the page, which reads the path."""
    routes = APIRouter()
    page = form(_read(_PAGE))
    assets = {name: form(_read(name)) for name in _TYPES}

    @routes.get(f"{PATH}/assets/{{name}}")
    async def asset(
        request: Request, name: str, if_none_match: Annotated[str | None, Header()] = None
    ) -> Response:
        access.origin(request)
        if name not in assets:
            raise Refused(404, "no such file")
        return _file(assets[name], _TYPES[name], if_none_match)

    @routes.get(PATH)
    @routes.get(f"{PATH}/{{rest:path}}")
    async def console(
        request: Request, rest: str = "", if_none_match: Annotated[str | None, Header()] = None
    ) -> Response:
        access.origin(request)
        return _file(page, "text/html", if_none_match)

    return routes


def _file(content: Form, media_type: str, if_none_match: str | None) -> Response:
    headers = {"ETag": content.etag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
    if unchanged(if_none_match, content.etag):
        return Response(status_code=304, headers=headers)
    return Response(content.body, media_type=media_type, headers=headers)


def _read(name: str) -> bytes:
    return files(__package__).joinpath("static", name).read_bytes()
