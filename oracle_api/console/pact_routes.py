"""Pacts: read and written through the gateway; checked, compared and replayed here."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from oracle_api.bodies import read_json
from oracle_api.console import recorded, review
from oracle_api.console.access import Visitor
from oracle_api.console.answers import answer
from oracle_api.console.parts import Parts
from pactstream.errors import InvalidInput
from pactstream.pacts import Pact
from pactstream.pacts.parse import MAX_DOCUMENT_BYTES

# A text in JSON may take six bytes for one of its own, and there may be two of them.
_MAX_BYTES = 4 * MAX_DOCUMENT_BYTES


class _Text(msgspec.Struct, forbid_unknown_fields=True):
    text: str


class _Two(msgspec.Struct, forbid_unknown_fields=True):
    old: str
    new: str


def router(parts: Parts) -> APIRouter:
    """The tenant's pacts, and looking at a version before it is in force."""
    routes = APIRouter()
    _passed_on(routes, parts)
    _review(routes, parts)
    return routes


def _passed_on(routes: APIRouter, parts: Parts) -> None:
    here, change = Depends(parts.visitor), Depends(parts.changer)

    async def ask(method: str, path: str, visitor: Visitor, body: bytes | None = None) -> Response:
        status, found = await parts.gateway.ask(method, f"/api/v1/{path}", visitor.api_key, body)
        return answer(found, status)

    @routes.get("/pacts")
    async def pacts(visitor: Visitor = here) -> Response:
        return await ask("GET", "pacts", visitor)

    @routes.get("/pact-templates")
    async def templates(visitor: Visitor = here) -> Response:
        return await ask("GET", "pact-templates", visitor)

    @routes.get("/pacts/{pact_id}")
    async def pact(
        pact_id: UUID, visitor: Visitor = here, version: Annotated[int | None, Query(ge=1)] = None
    ) -> Response:
        query = "" if version is None else f"?version={version}"
        return await ask("GET", f"pacts/{pact_id}{query}", visitor)

    @routes.get("/pacts/{pact_id}/versions")
    async def versions(pact_id: UUID, visitor: Visitor = here) -> Response:
        return await ask("GET", f"pacts/{pact_id}/versions", visitor)

    @routes.post("/pacts")
    async def create(request: Request, visitor: Visitor = change) -> Response:
        given = await read_json(request, _Text, _MAX_BYTES)
        return await ask("POST", "pacts", visitor, given.text.encode())

    @routes.post("/pacts/{pact_id}/versions")
    async def add(request: Request, pact_id: UUID, visitor: Visitor = change) -> Response:
        given = await read_json(request, _Text, _MAX_BYTES)
        return await ask("POST", f"pacts/{pact_id}/versions", visitor, given.text.encode())


def _review(routes: APIRouter, parts: Parts) -> None:
    change = Depends(parts.changer)

    @routes.post("/review/check")
    async def check(request: Request, _: Visitor = change) -> Response:
        given = await read_json(request, _Text, _MAX_BYTES)
        pact, faults = await parts.rows.thread(lambda: review.check(given.text))
        return answer({"valid": pact is not None, "faults": faults, "hash": pact and pact.hash})

    @routes.post("/review/diff")
    async def diff(request: Request, _: Visitor = change) -> Response:
        given = await read_json(request, _Two, _MAX_BYTES)
        return answer(await parts.rows.thread(lambda: review.difference(_pact(given.old), _pact(given.new))))

    @routes.post("/review/replay/{pact_id}")
    async def replay(request: Request, pact_id: UUID, visitor: Visitor = change) -> Response:
        given = await read_json(request, _Text, _MAX_BYTES)
        return answer(await replayed(parts, visitor, pact_id, _pact(given.text)))


async def replayed(parts: Parts, visitor: Visitor, pact_id: UUID, new: Pact) -> dict[str, Any]:
    """The last day's calls of the visitor's tenant under this pact, judged by `new`."""
    return review.replayed(await recorded.replay(parts.rows, visitor.tenant, pact_id, new))


def _pact(text: str) -> Pact:
    pact, faults = review.check(text)
    if pact is None:
        first = faults[0]
        raise InvalidInput(
            f"not a pact: line {first['line']}: {first['path'] or 'document'}: {first['message']}"
        )
    return pact
