"""Subscriptions over HTTP: a tenant's own, with its API key."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import anyio
import msgspec
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from msgspec import Meta

from oracle_api import access
from oracle_api.bodies import read_json
from oracle_api.common import ERRORS
from oracle_api.negotiation import JSON
from oracle_api.parts import Parts
from oracle_api.subscriptions import MAX_AGENTS, Subscriptions
from pactstream import clock
from pactstream.control.tenants import Tenant
from pactstream.web import Refused
from pactstream.webhooks.records import KINDS, Kind, Subscription

PATH = "/api/v1/subscriptions"
_COST = 10
_EXAMPLE = {
    "url": "https://bank.example/hooks/pactstream",
    "agentIds": ["76cf31d6-ffe3-4a5c-8748-021114aa8066"],
    "kinds": list(KINDS),
}
_RESPONSES: dict[int | str, dict[str, Any]] = ERRORS | {
    401: {"description": "No valid API key."},
    403: {"description": "The key lacks the scope."},
    404: {"description": "No such subscription, or this oracle pushes nothing."},
}


class _Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    url: Annotated[str, Meta(max_length=2_048)]
    agent_ids: Annotated[list[UUID], Meta(min_length=1, max_length=MAX_AGENTS)]
    kinds: Annotated[list[Kind], Meta(min_length=1, max_length=len(KINDS))] = msgspec.field(
        default_factory=lambda: list(KINDS)
    )


def router(parts: Parts) -> APIRouter:
    """The routes."""
    routes = APIRouter(
        tags=["Subscriptions"],
        responses=_RESPONSES,
        dependencies=[Depends(one) for one in access.DOCUMENTED_KEY],
    )
    body = {"required": True, "content": {JSON: {"example": _EXAMPLE}}}

    def asked(request: Request) -> tuple[Subscriptions, Tenant]:
        tenant, key = access.principal(request, parts.keys)
        parts.limiter.check(f"key {key.key_id}", _COST)
        if parts.subscriptions is None:
            raise Refused(404, "this oracle pushes nothing")
        return parts.subscriptions, tenant

    @routes.post(PATH, summary="Be told of changes", status_code=201, openapi_extra={"requestBody": body})
    async def subscribe(request: Request) -> Response:
        """The answer has the secret, in the form that libraries of standardwebhooks.com take."""
        subscriptions, tenant = asked(request)
        wanted = await read_json(request, _Wanted)
        made = await anyio.to_thread.run_sync(
            subscriptions.create, tenant.tenant_id, wanted.url, wanted.agent_ids, wanted.kinds
        )
        content = {**_shown(made), "secret": subscriptions.secret(made)}
        return JSONResponse(content, 201, {"Cache-Control": "private, no-store"})

    @routes.get(PATH, summary="Your subscriptions")
    async def subscribed(request: Request) -> Response:
        """Without their secrets."""
        subscriptions, tenant = asked(request)
        content = {"subscriptions": [_shown(one) for one in subscriptions.of_tenant(tenant.tenant_id)]}
        return JSONResponse(content, headers={"Cache-Control": "private, no-store"})

    @routes.delete(PATH + "/{subscriptionId}", summary="Be told no more", status_code=204)
    async def unsubscribe(subscriptionId: UUID, request: Request) -> Response:  # noqa: N803 - the path's name
        """What is under way is dropped; an attempt being made may still arrive."""
        subscriptions, tenant = asked(request)
        await anyio.to_thread.run_sync(subscriptions.delete, tenant.tenant_id, str(subscriptionId))
        return Response(status_code=204)

    return routes


def _shown(subscription: Subscription) -> dict[str, Any]:
    return {
        "id": subscription.subscription_id,
        "url": subscription.url,
        "agentIds": list(subscription.agent_ids),
        "kinds": list(subscription.kinds),
        "createdAt": clock.to_iso(subscription.created_at_micros),
    }
