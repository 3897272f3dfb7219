"""Routes of paging routes: `/api/v1/paging/routes`. What is secret goes in and never comes out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Path, Response, Security
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints
from pydantic.alias_generators import to_camel

from ingest_gateway import documented
from ingest_gateway.access import DOCUMENTED_KEY, Access, Principal
from pactstream import clock, ids
from pactstream.errors import Detail
from pactstream.kafka import topics
from pactstream.kafka.publisher import Publisher
from pactstream.kafka.table import Changed, Changes
from pactstream.paging.keys import PagingKeys
from pactstream.paging.records import Kind, Route, RouteBook, Severity
from pactstream.web import Refused
from pactstream.webhooks import signature
from pactstream.webhooks.addresses import AddressRefused, check_url
from pactstream.webhooks.records import Delivery

MAX_ROUTES: Final = 16
MAX_RECEIVERS: Final = 10

RouteId = Annotated[UUID, Path(alias="routeId")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Address = Annotated[str, StringConstraints(max_length=254)]
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_NEEDS_URL: Final = frozenset({"alertmanager", "webhook"})
_NEEDS_SECRET: Final = frozenset({"pagerduty", "slack"})
_NO_SECRET: Final = frozenset({"webhook", "email"})
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: documented.ERROR}


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class RouteBody(_Model):
    """Where pages go. `secret`: of alertmanager a bearer token, of pagerduty the routing key, of slack the
    webhook's address; left out, the former stays, unless kind or address change.
    """

    kind: Kind
    name: Name = Field(examples=["treasury on call"])
    severities: list[Severity] = Field(["critical"], min_length=1, max_length=2)
    url: str = Field("", max_length=2_048)
    to: list[Address] = Field([], max_length=MAX_RECEIVERS)
    secret: SecretStr | None = Field(None, max_length=2_048)


class RouteView(_Model):
    """A route, without its secret."""

    route_id: UUID
    kind: Kind
    name: str
    severities: list[str]
    url: str
    to: list[str]
    has_secret: bool
    created_at: str
    updated_at: str


class NewRouteView(RouteView):
    """A new route; of a webhook with the secret that its messages are signed with, shown this once."""

    signing_secret: str | None = None


class RouteList(_Model):
    """A tenant's routes."""

    routes: list[RouteView]


@dataclass(frozen=True, slots=True)
class PagingRoutes:
    """Changes to routes; each is one step over all gateways. `keys` None: this gateway has no paging key."""

    book: RouteBook
    changes: Changes
    publisher: Publisher
    keys: PagingKeys | None
    allow_private: bool

    def find(self, tenant_id: str, route_id: UUID) -> Route:
        """One route. Raises `Refused` 404, the same for another tenant's."""
        found = self.book.get(str(route_id))
        if found is None or found.tenant_id != tenant_id:
            raise Refused(404, "no such route of this tenant")
        return found

    def put(self, tenant_id: str, route_id: UUID, body: RouteBody) -> tuple[Route, bool]:
        """The route as it now is, and whether it is new. Blocks.

        Raises:
            Refused: 422 it is not complete or leads where nothing may be sent; 409 the id is taken, or there
                are too many; 503 this gateway has no paging key.
            Retryable: Kafka did not take it.
        """
        keys, key = self.required_keys(), str(route_id)
        created = False

        def decide() -> Route:
            nonlocal created
            before = self.book.get(key)
            if before is not None and before.tenant_id != tenant_id:
                raise Refused(409, "this route id is taken")
            created = before is None
            if created and len(self.book.of_tenant(tenant_id)) >= MAX_ROUTES:
                raise Refused(409, f"a tenant may have {MAX_ROUTES} routes")
            return self._made(tenant_id, key, body, before, keys)

        return self._change(key, decide), created

    def delete(self, tenant_id: str, route_id: UUID) -> None:
        """End a route: what still waits for it is dropped. Raises as `find` and `put`. Blocks."""

        def decide() -> list[Changed]:
            self.find(tenant_id, route_id)
            return [(topics.PAGING_ROUTES, str(route_id), None)]

        self.changes.apply(decide)

    async def test(self, tenant_id: str, route_id: UUID) -> str:
        """Send a test page; its id. Raises as `find`, and `Backpressure`."""
        route, now, notice_id = self.find(tenant_id, route_id), clock.now_micros(), f"test-{ids.uuid7()}"
        at = clock.to_iso(now)
        data = {
            "pageId": notice_id,
            "title": "Test page: nothing happened",
            "body": f"Somebody tests the route {route.name}.",
            "severity": "notice",
            "status": "open",
            "openedAt": at,
            "links": {},
        }
        body = msgspec.json.encode({"type": "test", "timestamp": at, "data": data})
        delivery = Delivery(notice_id, route.route_id, body, now)
        await self.publisher.publish(topics.PAGE_DELIVERIES, delivery.key, delivery.encode())
        return notice_id

    def required_keys(self) -> PagingKeys:
        """The paging key. Raises `Refused` 503: this gateway has none."""
        if self.keys is None:
            raise Refused(503, "this gateway has no paging key")
        return self.keys

    def _made(
        self, tenant_id: str, route_id: str, body: RouteBody, before: Route | None, keys: PagingKeys
    ) -> Route:
        now = clock.now_micros()
        same = before is not None and (before.kind, before.url) == (body.kind, body.url)
        sealed = before.secret if before is not None and same else b""
        if body.secret is not None and body.secret.get_secret_value():
            secret = body.secret.get_secret_value()
            sealed = keys.seal(secret, tenant_id=tenant_id, route_id=route_id)
        _check(body, has_secret=bool(sealed), allow_private=self.allow_private)
        made = Route(
            route_id,
            tenant_id,
            body.kind,
            body.name,
            tuple(dict.fromkeys(body.severities)),
            body.url,
            tuple(body.to),
            sealed,
            now,
            now,
        )
        return made if before is None else replace(made, created_at_micros=before.created_at_micros)

    def _change(self, key: str, decide: Callable[[], Route]) -> Route:
        decided: list[Route] = []

        def changed() -> list[Changed]:
            decided[:] = [decide()]
            return [(topics.PAGING_ROUTES, key, decided[0].encode())]

        self.changes.apply(changed)
        return decided[0]


def router(access: Access, routing: PagingRoutes) -> APIRouter:
    """The routes."""
    routes = APIRouter(
        prefix="/api/v1/paging/routes",
        tags=["Pages"],
        dependencies=[Security(one) for one in DOCUMENTED_KEY],
        responses={409: documented.ERROR},
    )
    principal_of = Depends(access.needs("pages:admin"))

    @routes.get("", summary="The tenant's paging routes")
    def all_routes(principal: Principal = principal_of) -> RouteList:
        """Without their secrets."""
        return RouteList(routes=[_view(one) for one in routing.book.of_tenant(principal.tenant.tenant_id)])

    @routes.get("/{routeId}", summary="One paging route", responses=_NOT_FOUND)
    def one(route_id: RouteId, principal: Principal = principal_of) -> RouteView:
        """Without its secret."""
        return _view(routing.find(principal.tenant.tenant_id, route_id))

    @routes.put("/{routeId}", summary="Make a paging route, or change it", responses={422: documented.ERROR})
    def put(
        route_id: RouteId, body: RouteBody, response: Response, principal: Principal = principal_of
    ) -> NewRouteView:
        """201 if it is new."""
        made, created = routing.put(principal.tenant.tenant_id, route_id, body)
        response.status_code = 201 if created else 200
        response.headers["Cache-Control"] = "no-store"
        shown = None
        if created and made.kind == "webhook":
            key = routing.required_keys().webhooks
            shown = signature.shown(signature.secret_of(key, made.route_id))
        return NewRouteView(signing_secret=shown, **_view(made).model_dump())

    @routes.delete("/{routeId}", summary="End a paging route", status_code=204, responses=_NOT_FOUND)
    def delete(route_id: RouteId, principal: Principal = principal_of) -> None:
        """What waits for it is not sent any more."""
        routing.delete(principal.tenant.tenant_id, route_id)

    @routes.post("/{routeId}/test", summary="Send a test page", status_code=202, responses=_NOT_FOUND)
    async def test(route_id: RouteId, principal: Principal = principal_of) -> dict[str, str]:
        """It goes the way that pages go."""
        return {"noticeId": await routing.test(principal.tenant.tenant_id, route_id)}

    return routes


def _check(body: RouteBody, *, has_secret: bool, allow_private: bool) -> None:
    """Raise `Refused` 422 unless a route is complete, and leads where something may be sent."""
    faults = []
    given = body.secret is not None
    if body.kind in _NEEDS_URL and not body.url:
        faults.append(Detail("url", "is required"))
    if body.kind in ("slack", "email") and body.url:
        faults.append(Detail("url", "means nothing here"))
    if body.kind in _NEEDS_SECRET and not has_secret:
        faults.append(Detail("secret", "is required, also where kind or address change"))
    if body.kind in _NO_SECRET and given:
        faults.append(Detail("secret", "means nothing here"))
    if (body.kind == "email") != bool(body.to):
        faults.append(Detail("to", "is required for email, and means nothing elsewhere"))
    faults += [Detail("to", "is not an e-mail address") for one in body.to if not _ADDRESS.fullmatch(one)]
    address = body.secret.get_secret_value() if body.kind == "slack" and body.secret else body.url
    try:
        if address:
            check_url(address, allow_private=allow_private)
    except AddressRefused as error:
        faults.append(Detail("secret" if body.kind == "slack" else "url", str(error)))
    if faults:
        raise Refused(422, "the route is not valid", faults)


def _view(route: Route) -> RouteView:
    return RouteView.model_validate(
        {
            "route_id": route.route_id,
            "kind": route.kind,
            "name": route.name,
            "severities": list(route.severities),
            "url": route.url,
            "to": list(route.to),
            "has_secret": bool(route.secret),
            "created_at": clock.to_iso(route.created_at_micros),
            "updated_at": clock.to_iso(route.updated_at_micros),
        }
    )
