"""What reports are checked against: public keys and checkpoints."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import JSONResponse

from oracle_api import examples, report
from oracle_api.common import ERRORS, conditional
from oracle_api.negotiation import JSON
from oracle_api.parts import Parts
from pactstream import web

_KEYS_MAX_AGE_SECONDS = 300
_MAX_LOG = 65_535


def router(parts: Parts) -> APIRouter:
    """Keys and checkpoints: what reports are checked against."""
    routes = APIRouter(tags=["Verification"], responses=ERRORS)

    @routes.get("/.well-known/jwks.json", summary="Public keys of the reports", response_class=Response)
    async def keys(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """A JWK Set (RFC 7517). Earlier keys stay listed with `retiredAt`, for reports they signed before."""
        caching = {"Cache-Control": f"public, max-age={_KEYS_MAX_AGE_SECONDS}"}
        return conditional(parts.jwks, if_none_match, "application/jwk-set+json", caching)

    @routes.get(
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

    return routes
