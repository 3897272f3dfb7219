"""The HTTP side of a mirror (services extra): the oracle's addresses that counterparties use, and `/status`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pactstream import clock
from pactstream.errors import PactstreamError, Retryable
from pactstream.ledger.tiles import CHECKPOINT, TILE_WIDTH, Missing, TileError, parse_path
from pactstream.mirror.mirror import LedgerMirror
from pactstream.mirror.reports import ReportMirror
from pactstream.mirror.statement import HEADER
from pactstream.trust.errors import UnknownAgent
from pactstream.web import RateLimiter, Refused, error_response, retry_after

_BYTES: Final = "application/octet-stream"
_JSON: Final = "application/json"
_TEXT: Final = {"Content-Type": "text/plain; charset=utf-8"}
_FULL: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
_BRIEF: Final = {"Cache-Control": "public, max-age=2"}
_REPORTS_PER_MINUTE: Final = 600
_REPORTS_AT_ONCE: Final = 100


def application(
    ledger: LedgerMirror,
    reports: ReportMirror | None,
    issuer_jwks: Mapping[str, Any],
    about: Mapping[str, Any],
) -> Starlette:
    """The mirror as an ASGI application. `about`: its name, verifier key and key set, as it serves them."""
    routes = [
        *_ledger_routes(ledger),
        _report_route(reports),
        _fixed("/.well-known/jwks.json", issuer_jwks),
        _fixed("/.well-known/pactstream-mirror.json", about),
        Route("/healthz", _healthz),
    ]
    return Starlette(routes=routes, exception_handlers={PactstreamError: _on_error})


def _ledger_routes(ledger: LedgerMirror) -> list[Route]:
    async def keys(_: Request) -> Response:
        return Response(ledger.keys, headers=_TEXT | _BRIEF)

    async def file(request: Request) -> Response:
        log = ledger.logs.get(request.path_params["log"])
        path = request.path_params["path"]
        if log is None:
            raise Missing("this mirror does not have the log")
        if path == CHECKPOINT:
            if log.note is None:
                raise Missing("nothing of this log is mirrored yet")
            return Response(log.note, headers=_TEXT | _BRIEF)
        data = await run_in_threadpool(log.file, path)
        caching = _FULL if parse_path(path).width == TILE_WIDTH else _BRIEF
        return Response(data, headers=caching, media_type=_BYTES)

    async def status(_: Request) -> Response:
        shown = [ledger.standings[number].shown(log) for number, log in sorted(ledger.logs.items())]
        bad = any(one["refused"] for one in shown)
        return JSONResponse({"logs": shown}, 503 if bad else 200, {"Cache-Control": "no-store"})

    return [
        Route("/ledger/keys", keys),
        Route("/ledger/{log:int}/{path:path}", file),
        Route("/status", status),
    ]


def _report_route(reports: ReportMirror | None) -> Route:
    limiter = RateLimiter(_REPORTS_PER_MINUTE, _REPORTS_AT_ONCE)

    async def trust(request: Request) -> Response:
        if reports is None:
            raise Missing("this mirror has no reports")
        try:
            agent_id = UUID(request.path_params["agent"])
        except ValueError:
            raise Refused(400, "not an agent id (UUID)") from None
        limiter.check(request.client.host if request.client else "")
        report = await run_in_threadpool(reports.get, agent_id)
        age = max(0, clock.now_micros() - report.seen_at_micros) // clock.MICROS_PER_SECOND
        headers = {"Cache-Control": "no-cache", "Age": str(age), HEADER: report.statement}
        return Response(report.body, headers=headers, media_type=_JSON)

    return Route("/api/v1/trust/{agent}", trust)


def _fixed(path: str, document: Mapping[str, Any]) -> Route:
    content = msgspec.json.encode(document)

    async def answer(_: Request) -> Response:
        return Response(content, headers=_BRIEF, media_type=_JSON)

    return Route(path, answer)


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("OK\n")


async def _on_error(_: Request, error: Exception) -> Response:
    if isinstance(error, Refused):
        return error_response(error.status, str(error), error.details, error.headers)
    if isinstance(error, UnknownAgent | TileError):
        return error_response(404, str(error))
    if isinstance(error, Retryable):
        return error_response(503, str(error), headers=retry_after(1))
    return error_response(500, "internal error")
