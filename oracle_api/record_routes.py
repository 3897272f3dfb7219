"""What stands behind reports: violations, a badge, and to a tenant its own share of an agent's calls."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.params import Depends as Dependency

from oracle_api import access, badge, records
from oracle_api.common import ERRORS, UNKNOWN, AgentId, conditional
from oracle_api.negotiation import JSON
from oracle_api.parts import Parts
from oracle_api.reports import Issued, form
from pactstream import canonical
from pactstream.web import Refused

_PAGE = 20
_MAX_PAGE = 100
_DAYS = 90
_MAX_DAYS = 400
_BADGE_MAX_AGE_SECONDS = 60
_COMPARE_COST = 10
_LAST = 2**64 - 1

Cursor = Annotated[str, Query(pattern=r"^[0-9]{1,19}$", description="`nextCursor` of the page before.")]
Etag = Annotated[str | None, Header()]


def router(parts: Parts) -> APIRouter:
    """The routes; none of these answers is signed."""
    routes = APIRouter(tags=["Records"], responses=ERRORS)
    caching = {"Cache-Control": f"public, max-age={parts.max_age_seconds}"}

    @routes.get(
        "/api/v1/trust/{agentId}/history",
        summary="An agent's nightly scores",
        response_class=Response,
        responses=UNKNOWN,
    )
    async def history(
        agent_id: AgentId,
        days: Annotated[int, Query(ge=1, le=_MAX_DAYS)] = _DAYS,
        if_none_match: Etag = None,
    ) -> Response:
        """One for each night, oldest first, computed from the ledger by published SQL: compute them again."""
        await _known(parts, agent_id)
        nights = await parts.store.history(agent_id, days)
        content = canonical.dumps({"agentId": str(agent_id), "nights": msgspec.to_builtins(nights)})
        return conditional(form(content), if_none_match, JSON, caching)

    @routes.get(
        "/api/v1/trust/{agentId}/violations",
        summary="An agent's violating calls, newest first",
        response_class=Response,
        responses=UNKNOWN,
    )
    async def violations(
        agent_id: AgentId,
        cursor: Cursor | None = None,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = _PAGE,
        if_none_match: Etag = None,
    ) -> Response:
        """Page by page: pass `nextCursor` as `cursor` until it is null. Each has its place in the ledger."""
        await _known(parts, agent_id)
        below = _LAST if cursor is None else int(cursor)
        events = await parts.store.violations(agent_id, below, limit + 1)  # one more: is there a next page?
        page = records.violations(str(agent_id), events, limit=limit, deployment=parts.deployment)
        return conditional(form(canonical.dumps(page)), if_none_match, JSON, caching)

    @routes.get(
        "/api/v1/trust/{agentId}/badge.svg",
        summary="A picture of an agent's standing",
        response_class=Response,
        responses={200: {"content": {"image/svg+xml": {}}}, **UNKNOWN},
    )
    async def picture(agent_id: AgentId, if_none_match: Etag = None) -> Response:
        """For a page that links to the report. It proves nothing: decide on reports."""
        issued = await _known(parts, agent_id)
        drawn = form(badge.svg(issued.state, parts.standings.of(agent_id)))
        kept = {"Cache-Control": f"public, max-age={_BADGE_MAX_AGE_SECONDS}"}
        return conditional(drawn, if_none_match, "image/svg+xml", kept)

    _private(routes, parts)
    return routes


async def _known(parts: Parts, agent_id: AgentId) -> Issued:
    issued = await parts.reports.get(agent_id)
    if issued is None:
        raise Refused(404, "nothing is known of this agent")
    return issued


def _private(routes: APIRouter, parts: Parts) -> None:
    @routes.get(
        "/api/v1/trust/{agentId}/compare",
        summary="A tenant's own share of an agent's calls",
        response_class=Response,
        dependencies=[Dependency(one) for one in access.DOCUMENTED_KEY],
        responses={
            401: {"description": "No valid API key."},
            403: {"description": "The key lacks the scope."},
            404: {"description": "Your tenant has no such agent."},
        },
    )
    async def compare(
        agent_id: AgentId,
        request: Request,
        tenants: Annotated[str, Query(max_length=0, description="A flag, without a value.")] = "",
        days: Annotated[int, Query(ge=1, le=90)] = 30,
    ) -> Response:
        """Needs a key with the scope `trust:private`. A tenant sees itself beside the whole, and no other."""
        tenant, key = access.principal(request, parts.keys)
        parts.limiter.check(f"key {key.key_id}", _COMPARE_COST)
        if str(agent_id) not in tenant.agents:
            raise Refused(404, "your tenant has no such agent")
        own, every = await parts.store.compared(agent_id, tenant.pseudonym, days)
        content = canonical.dumps(records.comparison(str(agent_id), tenant.pseudonym, days, own, every))
        return Response(content, media_type=JSON, headers={"Cache-Control": "private, no-store"})
