"""Routes of pages and of what is done with them: `/api/v1/pages`, `/api/v1/agents/{agentId}/resume`."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response, Security
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from ingest_gateway import documented
from ingest_gateway.access import DOCUMENTED_KEY, Access, Principal
from ingest_gateway.page_actions import Actor, PageActions
from pactstream import clock
from pactstream.paging.records import Outcome, Page, Status, loads
from pactstream.web import RateLimiter

PageId = Annotated[UUID, Path(alias="pageId")]
AgentId = Annotated[UUID, Path(alias="agentId")]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=2_000, strip_whitespace=True)]

MAX_PAGES = 500
_FAULTS: dict[int | str, dict[str, Any]] = {404: documented.ERROR, 409: documented.ERROR}


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class NoteBody(_Model):
    """What the one who looks after it says."""

    note: Reason | None = None


class ReasonBody(_Model):
    """Why."""

    reason: Reason


class RotateBody(ReasonBody):
    """Why, and which keys; by default all that can act as the agent."""

    key_ids: list[Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")]] | None = Field(
        None, max_length=100
    )


class AcceptBody(ReasonBody):
    """A pact that differs from version `baseVersion`, the one in force, in the page's rule only."""

    base_version: int = Field(ge=1)
    document: dict[str, Any]


def router(access: Access, actions: PageActions, limiter: RateLimiter) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/api/v1", tags=["Pages"], dependencies=[Security(one) for one in DOCUMENTED_KEY])

    async def actor_of(request: Request) -> Actor:
        principal = access.principal(request, "pages:act")
        limiter.check(principal.key.key_id)
        return Actor(principal.tenant, f"key/{principal.key.key_id}", request.state.request_id)

    _reading(routes, Depends(access.needs("pages:act")), actions)
    _acting(routes, Depends(actor_of), actions)
    return routes


def _reading(routes: APIRouter, principal_of: Any, actions: PageActions) -> None:
    @routes.get("/pages", summary="The tenant's pages")
    def pages(
        principal: Principal = principal_of,
        status: Status | None = None,
        agent_id: Annotated[UUID | None, Query(alias="agentId")] = None,
    ) -> Response:
        """The newest first, 500 at most, without calls and history; closed ones for 30 days."""
        found = [
            one
            for one in actions.book.of_tenant(principal.tenant.tenant_id)
            if status in (None, one.status) and str(agent_id) in ("None", one.agent_id)
        ]
        return _json({"pages": [_summary(one) for one in found[:MAX_PAGES]]})

    @routes.get("/pages/{pageId}", summary="One page", responses={404: documented.ERROR})
    def page(page_id: PageId, principal: Principal = principal_of) -> Response:
        """With the failing values, the latest calls before it, what was done, and where it was sent."""
        found = actions.page(principal.tenant.tenant_id, page_id)
        return _json(_full(found, actions.book.deliveries(found)))


def _acting(routes: APIRouter, actor_of: Any, actions: PageActions) -> None:
    @routes.post("/pages/{pageId}/acknowledge", summary="Look after a page", responses=_FAULTS)
    async def acknowledge(page_id: PageId, body: NoteBody, actor: Actor = actor_of) -> JSONResponse:
        """It stays open, and says who looks after it."""
        await actions.acknowledge(actor, page_id, body.note)
        return JSONResponse({"status": "done"})

    @routes.post(
        "/pages/{pageId}/accept",
        summary="Accept and document",
        responses=_FAULTS | {202: {"description": "A second key must agree."}, 422: documented.ERROR},
    )
    async def accept(page_id: PageId, body: AcceptBody, actor: Actor = actor_of) -> JSONResponse:
        """A new version of the pact, loosened for this rule. Where the tenant demands two approvals, the same
        document must come from a second key within a day.
        """
        document = msgspec.json.encode(body.document)
        accepted = await actions.accept(actor, page_id, body.reason, body.base_version, document)
        if accepted.pact_version is None:
            return JSONResponse({"status": "waiting_for_approval"}, 202)
        return JSONResponse({"status": "done", "pactVersion": accepted.pact_version})

    @routes.post("/pages/{pageId}/block", summary="Block and investigate", responses=_FAULTS)
    async def block(page_id: PageId, body: ReasonBody, actor: Actor = actor_of) -> JSONResponse:
        """The agent is paused: pre-flights refuse, its events are not taken, its trust report says so."""
        await actions.block(actor, page_id, body.reason)
        return JSONResponse({"status": "done"})

    @routes.post("/pages/{pageId}/rotate", summary="Compromised: rotate the keys", responses=_FAULTS)
    async def rotate(page_id: PageId, body: RotateBody, actor: Actor = actor_of) -> JSONResponse:
        """Keys that can act as the agent open nothing any more; others take their places, shown this once. Its
        reservations are dropped, its sessions in flight are aborted.
        """
        named = None if body.key_ids is None else frozenset(body.key_ids)
        rotated = await actions.rotate(actor, page_id, body.reason, named)
        keys = [
            {"keyId": record.key_id, "label": record.label, "scopes": list(record.scopes), "key": key}
            for key, record in rotated.issued
        ]
        return JSONResponse(
            {"revokedKeys": rotated.revoked, "keys": keys}, headers={"Cache-Control": "no-store"}
        )

    @routes.post("/agents/{agentId}/resume", summary="Resume a paused agent", responses={404: documented.ERROR})
    async def resume(agent_id: AgentId, body: ReasonBody, actor: Actor = actor_of) -> JSONResponse:
        """Its calls are judged and its events are taken again."""
        await actions.resume(actor, agent_id, body.reason)
        return JSONResponse({"status": "done"})


_ENCODER = msgspec.json.Encoder(decimal_format="number")


def _json(content: Any) -> Response:
    return Response(
        _ENCODER.encode(content), media_type="application/json", headers={"Cache-Control": "no-store"}
    )


def _summary(page: Page) -> dict[str, Any]:
    return {
        "pageId": page.page_id,
        "agentId": page.agent_id,
        "pactId": page.pact_id,
        "pactVersion": page.pact_version,
        "rule": page.rule,
        "paramPath": page.param_path,
        "severity": page.severity,
        "tool": page.tool,
        "sessionId": page.session_id,
        "status": page.status,
        "resolution": page.resolution,
        "occurrences": page.occurrences,
        "openedAt": clock.to_iso(page.created_at_micros),
        "lastAt": clock.to_iso(page.last_at_micros),
        "updatedAt": clock.to_iso(page.updated_at_micros),
        "eventId": page.event_id,
        "lastEventId": page.last_event_id,
    }


def _full(page: Page, deliveries: tuple[Outcome, ...]) -> dict[str, Any]:
    return _summary(page) | {
        "violations": loads(page.violations),
        "recentCalls": loads(page.recent_calls),
        "history": loads(page.history),
        "deliveries": [
            {
                "route": one.route,
                "kind": one.kind,
                "state": one.state,
                "attempts": one.attempts,
                "error": one.error,
            }
            for one in deliveries
        ],
    }
