"""The published ledger over HTTP: its files as they are (C2SP tlog-tiles), and proofs made from them."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar
from uuid import UUID

import anyio
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from oracle_api.common import ERRORS
from oracle_api.ledger import Proofs, PublishedLedger
from oracle_api.parts import Parts
from pactstream import web
from pactstream.ledger import merkle
from pactstream.ledger.tiles import CHECKPOINT, ENTRIES, SEGMENTS, TILE_WIDTH, Missing, TileError, parse_path
from pactstream.ledger.verification import KEYS, LEDGER

_TEXT = "text/plain; charset=utf-8"
_BYTES = "application/octet-stream"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}", re.ASCII)
_FULL = "public, max-age=31536000, immutable"
# A partial file never changes either, but it goes once the full one is there: not worth keeping for long.
_PARTIAL = "public, max-age=3600, immutable"
# C2SP tlog-tiles: bundles should be compressed. Leaves are alike, so the quickest level does most of it.
_GZIP_LEVEL = 1
_NO_GZIP = re.compile(r"gzip\s*;\s*q=0(\.0*)?\s*(,|$)")
_KEYS_CACHING = {"Cache-Control": "public, max-age=60"}
_MAX_SIZE = 2**63 - 1
# A slow disk or server must not take the threads that reports need.
_THREADS = 16

_BUNDLES = (f"tile/{ENTRIES}/", f"{SEGMENTS}/")

_T = TypeVar("_T")

_KEYS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Text.", "content": {"text/plain": {}}},
    404: {"description": "This oracle publishes no ledger."},
}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {_BYTES: {}, "text/plain": {}}},
    404: {"description": "No such file: try the full tile in place of a partial one."},
}
_PROOF: dict[int | str, dict[str, Any]] = {
    200: {"description": "A tlog-proof.", "content": {"text/plain": {}}},
    404: {"description": "Nothing is known of this event."},
    409: {"description": "Several agents used this event id: name one."},
    503: {"description": "It is sealed but not published yet; `Retry-After` says when to come back."},
}
_CONSISTENCY: dict[int | str, dict[str, Any]] = {
    200: {"description": "Both sizes and roots, the proof, and the published note where `to` is its size."},
    404: {"description": "The log has not so many published leaves."},
}

Log = Annotated[str, Path(description="Number of a log.")]
File = Annotated[
    str,
    Path(
        description="C2SP tlog-tiles: `checkpoint`, `tile/<L>/<N>[.p/<W>]`, `tile/entries/<N>[.p/<W>]`; and "
        "the headers of segments in the form of the latter, `segments/<N>[.p/<W>]`."
    ),
]
EventId = Annotated[UUID, Path(alias="eventId", description="The event's UUID.")]
Agent = Annotated[UUID | None, Query(description="The agent, in case several used this event id.")]
LogNumber = Annotated[int, Path(alias="log", ge=0, le=65_535, description="Number of a log.")]
OldSize = Annotated[int, Query(alias="from", ge=0, le=_MAX_SIZE, description="Size of the older tree.")]
NewSize = Annotated[
    int | None,
    Query(alias="to", ge=0, le=_MAX_SIZE, description="Size of the newer; by default the published one."),
]


class _Reader:
    """Reads in threads, and says in HTTP's words what cannot be had."""

    def __init__(self, ledger: PublishedLedger) -> None:
        self._ledger = ledger
        self._threads = anyio.CapacityLimiter(_THREADS)

    @property
    def proofs(self) -> Proofs:
        """What is published. Raises `Refused` where nothing is."""
        if self._ledger.proofs is None:
            raise web.Refused(404, "this oracle publishes no ledger")
        return self._ledger.proofs

    async def file(self, path: str) -> bytes:
        """A published file; 404 where there is none."""
        try:
            return await self.thread(partial(self.proofs.file, path))
        except Missing as error:
            raise web.Refused(404, str(error)) from None

    async def place(self, event_id: UUID, agent: UUID | None) -> tuple[int, int]:
        """Log and leaf index of an event; 404 or 409 where it is not exactly one."""
        found = await self.thread(partial(self._ledger.places, event_id))
        places = [(log, index) for log, index, whose in found if agent is None or whose == str(agent)]
        if not places:
            raise web.Refused(404, "nothing is known of this event")
        if len(places) > 1:
            raise web.Refused(409, "several agents used this event id: name one with ?agent=")
        return places[0]

    async def thread(self, call: Callable[[], _T]) -> _T:
        """The result of a call that blocks."""
        return await anyio.to_thread.run_sync(call, limiter=self._threads)


def files(parts: Parts) -> APIRouter:
    """The published files. Verifying a log reads thousands of them."""
    routes = APIRouter(tags=["Verification"], responses=ERRORS)
    reader = _Reader(parts.ledger)
    caching = {"Cache-Control": f"public, max-age={parts.max_age_seconds}"}

    @routes.get("/ledger/keys", summary="Verifier keys of all logs", response_class=Response, responses=_KEYS)
    async def keys() -> Response:
        """One C2SP verifier key a line; `<key> until <size>` declares the cut-off of a compromised key."""
        return Response(await reader.file(KEYS), headers=_KEYS_CACHING, media_type=_TEXT)

    @routes.get(
        "/ledger/{log}/{path:path}",
        summary="The published files of a log",
        response_class=Response,
        responses=_FILE,
    )
    async def file(request: Request, log: Log, path: File) -> Response:
        """All but the checkpoint never change; a partial file goes when the full one is there."""
        name, media_type, cached = _named(path)
        headers = {"Cache-Control": cached} if cached else dict(caching)
        if not _NUMBER.fullmatch(log):
            raise web.Refused(404, "no such log")
        data = await reader.file(f"{LEDGER}/{log}/{name}")
        if name.startswith(_BUNDLES):
            headers["Vary"] = "Accept-Encoding"
            accepted = request.headers.get("accept-encoding", "")
            if "gzip" in accepted and not _NO_GZIP.search(accepted):
                headers["Content-Encoding"] = "gzip"
                data = await reader.thread(partial(gzip.compress, data, _GZIP_LEVEL, mtime=0))
        return Response(data, headers=headers, media_type=media_type)

    return routes


def router(parts: Parts) -> APIRouter:
    """Proofs made from the published files."""
    routes = APIRouter(tags=["Verification"], responses=ERRORS)
    reader = _Reader(parts.ledger)
    caching = {"Cache-Control": f"public, max-age={parts.max_age_seconds}"}

    @routes.get(
        "/api/v1/ledger/events/{eventId}/proof",
        summary="The proof that an event is in the ledger",
        response_class=Response,
        responses=_PROOF,
    )
    async def proof(event_id: EventId, agent: Agent = None) -> Response:
        """C2SP tlog-proof with the leaf as extra data: it verifies offline with the log's verifier key."""
        proofs = reader.proofs
        place = await reader.place(event_id, agent)
        try:
            inclusion = await reader.thread(partial(proofs.inclusion, *place))
        except Missing as error:
            raise web.Refused(503, str(error), headers=web.retry_after(1)) from None
        return Response(inclusion.encode(), headers=caching, media_type=_TEXT)

    @routes.get(
        "/api/v1/ledger/{log}/consistency", summary="The proof that a log only grew", responses=_CONSISTENCY
    )
    async def consistency(log: LogNumber, old_size: OldSize, new_size: NewSize = None) -> Response:
        """RFC 9162, section 2.1.4: hashes in base64. Check it against checkpoints that you trust."""
        try:
            answer = await reader.thread(partial(reader.proofs.consistency, log, old_size, new_size))
        except Missing as error:
            raise web.Refused(404, str(error)) from None
        except merkle.ProofError as error:
            raise web.Refused(400, str(error)) from None
        return JSONResponse(answer, headers=caching)

    return routes


def _named(path: str) -> tuple[str, str, str | None]:
    """The canonical path, media type and caching of a published file. Raises `Refused` for any other text."""
    if path == CHECKPOINT:
        return path, _TEXT, None
    try:
        tile = parse_path(path)
    except TileError as error:
        raise web.Refused(404, str(error)) from None
    return str(tile), _BYTES, _FULL if tile.width == TILE_WIDTH else _PARTIAL
