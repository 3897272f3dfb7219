"""What the console reads: events, sessions, agents. Each of the tenant that is logged in."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse

from oracle_api.console import page_routes
from oracle_api.console.access import Visitor
from oracle_api.console.answers import answer
from oracle_api.console.events import Filter
from oracle_api.console.parts import Parts
from pactstream import clock
from pactstream.web import Refused

Span = Annotated[Literal["1h", "24h", "7d"], Query()]
_VERDICTS = Literal["", "violated", "valid", "critical", "major", "minor", "info"]
_MAX_MICROS = 2**62
_SSE_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def _filter(
    agent: UUID | None = None,
    type: str = Query("", max_length=40),  # noqa: A002 - the parameter's name on the wire
    verdict: _VERDICTS = "",
    tool: str = Query("", max_length=256),
    path: str = Query("", max_length=512),
) -> Filter:
    return Filter(agent, type, verdict, tool, path)


def router(parts: Parts) -> APIRouter:
    """Events and agents."""
    routes = APIRouter()
    _events(routes, parts)
    _agents(routes, parts)
    return routes


def _events(routes: APIRouter, parts: Parts) -> None:
    here = Depends(parts.visitor)
    wanted_of = Depends(_filter)

    @routes.get("/events")
    async def events(
        visitor: Visitor = here,
        wanted: Filter = wanted_of,
        before: Annotated[int | None, Query(ge=0, le=_MAX_MICROS)] = None,
    ) -> Response:
        return answer({"events": await parts.events.latest(visitor.tenant.pseudonym, wanted, before)})

    @routes.get("/events/stream")
    async def stream(visitor: Visitor = here, wanted: Filter = wanted_of) -> Response:
        lines = parts.live.stream(visitor.tenant.pseudonym, wanted, lambda: parts.still(visitor))
        return StreamingResponse(lines, media_type="text/event-stream", headers=_SSE_HEADERS)

    @routes.get("/events/{event_id}")
    async def event(event_id: UUID, visitor: Visitor = here) -> Response:
        found = await parts.events.one(visitor.tenant.pseudonym, event_id)
        if found is None:
            raise Refused(404, "nothing is known of this event")
        return answer(found)

    @routes.get("/sessions/{agent_id}")
    async def session(
        agent_id: UUID, session: Annotated[str, Query(max_length=256)], visitor: Visitor = here
    ) -> Response:
        found = await parts.events.session(visitor.tenant.pseudonym, agent_id, session)
        if found is None:
            raise Refused(404, "nothing is known of this session")
        return answer(found)


def _agents(routes: APIRouter, parts: Parts) -> None:
    here = Depends(parts.visitor)

    @routes.get("/agents")
    async def agents(visitor: Visitor = here) -> Response:
        return answer({"agents": await parts.agents.listed(visitor.tenant)})

    @routes.get("/agents/{agent_id}")
    async def agent(agent_id: UUID, visitor: Visitor = here, span: Span = "24h") -> Response:
        registered = visitor.tenant.agents.get(str(agent_id))
        if registered is None:
            raise Refused(404, "no such agent")
        pseudonym = visitor.tenant.pseudonym
        points, paths, score, nights, falls, oracle, pages, anomalies = await asyncio.gather(
            parts.agents.points(pseudonym, agent_id, span),
            parts.agents.paths(pseudonym, agent_id, span),
            parts.agents.score(agent_id),
            parts.agents.nights(agent_id),
            parts.agents.falls(pseudonym, agent_id),
            parts.agents.oracle(span),
            page_routes.listed(parts, visitor.tenant.tenant_id, "unresolved", str(agent_id)),
            parts.agents.anomalies(visitor.tenant.tenant_id, agent_id),
        )
        return answer(
            {
                "agentId": registered.agent_id,
                "name": registered.name,
                "status": registered.status,
                "now": clock.now_micros() // clock.MICROS_PER_SECOND,
                "points": points,
                "paths": paths,
                "score": score,
                "nights": nights,
                "falls": falls,
                "oracle": oracle,
                "pages": pages,
                "anomalies": anomalies,
            }
        )
