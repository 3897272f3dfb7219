"""What the routers share: parameters, who asks, conditional answers, the errors that every route may give."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Request, Response

from oracle_api.negotiation import unchanged
from oracle_api.parts import Parts
from oracle_api.reports import Form
from pactstream import web

_block = lru_cache(maxsize=10_000)(web.address_block)

AgentId = Annotated[UUID, Path(alias="agentId", description="The agent's UUID.")]

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "Not a UUID, or a parameter out of range."},
    429: {"description": "Too many requests from this address; `Retry-After` says when to come back."},
    503: {"description": "The ledger cannot be read right now; `Retry-After` says when to come back."},
}
UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "Nothing is known of this agent."}}


def caller(parts: Parts, request: Request) -> str:
    """What one caller usually has, for limits: an address or an IPv6 /64."""
    return _block(web.client_address(request, parts.trusted_proxies))


def conditional(form: Form, if_none_match: str | None, media_type: str, headers: dict[str, str]) -> Response:
    """The form, or 304 to who has it already."""
    headers = headers | {"ETag": form.etag}
    if unchanged(if_none_match, form.etag):
        return Response(status_code=304, headers=headers)
    return Response(form.body, media_type=media_type, headers=headers)
