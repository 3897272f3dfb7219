"""Routes of tenants, agents and keys: `/api/v1/tenants`, for administrators only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response, Security
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from ingest_gateway import documented
from ingest_gateway.access import DOCUMENTED_ADMIN, Access
from ingest_gateway.tenancy import Tenancy
from pactstream import clock
from pactstream.control.tenants import SCOPES, Agent, AgentStatus, ApiKey, KeyState, Scope, Tenant
from pactstream.ids import uuid7

Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Contact = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\x00-\x1f\x7f]+$")]
TenantId = Annotated[UUID, Path(alias="tenantId")]
AgentId = Annotated[UUID, Path(alias="agentId")]
KeyId = Annotated[str, Path(alias="keyId", pattern="^[0-9a-f]{16}$")]

_MAX_CONTACTS = 16
_DEFAULT_DAYS = 90
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: documented.ERROR}


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class TenantBody(_Model):
    """A tenant's properties."""

    name: Name = Field(examples=["Acme"])
    owners: list[Contact] = Field([], max_length=_MAX_CONTACTS, examples=[["ops@acme.example"]])
    paging_routes: list[Contact] = Field(
        [],
        max_length=_MAX_CONTACTS,
        description="Contacts, for people to read. Pages go to `/api/v1/paging/routes`.",
    )
    approvals: int = Field(1, ge=1, le=2, description="How many keys must agree before a page loosens a pact.")


class AgentBody(_Model):
    """What an agent is called."""

    name: Name = Field(examples=["Atlas"])


class KeyBody(_Model):
    """What a new key may do, and for how long."""

    label: Name = Field(examples=["atlas in production"])
    scopes: list[Scope] = Field(
        min_length=1, max_length=len(SCOPES), examples=[["telemetry:write", "preflight"]]
    )
    expires_at: AwareDatetime | None = Field(None, description=f"Default: in {_DEFAULT_DAYS} days.")


class AgentView(_Model):
    """An agent of a tenant."""

    agent_id: UUID
    name: str
    status: AgentStatus
    registered_at: str


class KeyView(_Model):
    """A key, without what makes it one."""

    key_id: str
    label: str
    scopes: list[str]
    state: KeyState
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class NewKeyView(KeyView):
    """A new key. `key` is shown this once and kept nowhere."""

    key: str = Field(examples=["pk_live_5d2f8c1e7a904b36_…"])


class TenantView(_Model):
    """A tenant with its agents."""

    tenant_id: UUID
    name: str
    pseudonym: str = Field(description="What public views show in place of the tenant.")
    created_at: str
    owners: list[str]
    paging_routes: list[str]
    approvals: int
    agents: list[AgentView]


class TenantList(_Model):
    """All tenants."""

    tenants: list[TenantView]


class KeyList(_Model):
    """All keys of a tenant, revoked ones included."""

    keys: list[KeyView]


def router(access: Access, tenancy: Tenancy) -> APIRouter:
    """The routes."""
    routes = APIRouter(
        prefix="/api/v1/tenants",
        tags=["Administration"],
        dependencies=[Security(DOCUMENTED_ADMIN), Depends(access.administrators_only)],
        responses={401: documented.ERROR},
    )
    _tenants(routes, tenancy)
    _agents(routes, tenancy)
    _keys(routes, tenancy)
    return routes


def _tenants(routes: APIRouter, tenancy: Tenancy) -> None:
    @routes.get("", summary="All tenants")
    def tenants() -> TenantList:
        """By name."""
        return TenantList(tenants=[_tenant(one) for one in tenancy.all()])

    @routes.post("", summary="Create a tenant", status_code=201)
    def create_tenant(body: TenantBody) -> TenantView:
        """A new tenant under an id of its own. To choose the id, `PUT /api/v1/tenants/{tenantId}`."""
        return _tenant(_put(tenancy, uuid7(), body)[0])

    @routes.get("/{tenantId}", summary="One tenant", responses=_NOT_FOUND)
    def tenant(tenant_id: TenantId) -> TenantView:
        """With its agents."""
        return _tenant(tenancy.get(tenant_id))

    @routes.put("/{tenantId}", summary="Create a tenant, or change its properties")
    def put_tenant(tenant_id: TenantId, body: TenantBody, response: Response) -> TenantView:
        """201 if it is new; agents and keys stay as they are."""
        found, created = _put(tenancy, tenant_id, body)
        response.status_code = 201 if created else 200
        return _tenant(found)


def _agents(routes: APIRouter, tenancy: Tenancy) -> None:
    @routes.put("/{tenantId}/agents/{agentId}", summary="Register an agent", responses=_NOT_FOUND)
    def put_agent(tenant_id: TenantId, agent_id: AgentId, body: AgentBody, response: Response) -> AgentView:
        """201 if it is new to the tenant; else its name is changed, and a paused one stays paused."""
        agent, created = tenancy.put_agent(tenant_id, agent_id, body.name)
        response.status_code = 201 if created else 200
        return _agent(agent)

    @routes.post("/{tenantId}/agents/{agentId}/pause", summary="Pause an agent", responses=_NOT_FOUND)
    def pause(tenant_id: TenantId, agent_id: AgentId) -> AgentView:
        """Its events are rejected from now on."""
        return _agent(tenancy.set_status(tenant_id, agent_id, "paused"))

    @routes.post("/{tenantId}/agents/{agentId}/resume", summary="Resume an agent", responses=_NOT_FOUND)
    def resume(tenant_id: TenantId, agent_id: AgentId) -> AgentView:
        """Its events are taken again."""
        return _agent(tenancy.set_status(tenant_id, agent_id, "active"))


def _keys(routes: APIRouter, tenancy: Tenancy) -> None:
    @routes.get("/{tenantId}/keys", summary="A tenant's API keys", responses=_NOT_FOUND)
    def keys(tenant_id: TenantId) -> KeyList:
        """Without what makes them keys."""
        return KeyList(keys=[KeyView(**_key(one)) for one in tenancy.get(tenant_id).keys.values()])

    @routes.post("/{tenantId}/keys", summary="Issue an API key", status_code=201, responses=_NOT_FOUND)
    def issue_key(tenant_id: TenantId, body: KeyBody, response: Response) -> NewKeyView:
        """The key is in this answer and nowhere else: we keep its hash."""
        response.headers["Cache-Control"] = "no-store"
        expires_at = body.expires_at or datetime.fromtimestamp(
            clock.now_micros() / clock.MICROS_PER_SECOND, UTC
        ) + timedelta(days=_DEFAULT_DAYS)
        key, record = tenancy.issue_key(
            tenant_id,
            label=body.label,
            scopes=list(dict.fromkeys(body.scopes)),
            expires_at_micros=clock.to_micros(expires_at),
        )
        return NewKeyView(key=key, **_key(record))

    @routes.post("/{tenantId}/keys/{keyId}/revoke", summary="Revoke an API key", responses=_NOT_FOUND)
    def revoke_key(tenant_id: TenantId, key_id: KeyId) -> KeyView:
        """It opens nothing from now on, here at once and on other gateways within moments."""
        return KeyView(**_key(tenancy.revoke_key(tenant_id, key_id)))


def _put(tenancy: Tenancy, tenant_id: UUID, body: TenantBody) -> tuple[Tenant, bool]:
    return tenancy.put(
        tenant_id,
        name=body.name,
        owners=body.owners,
        paging_routes=body.paging_routes,
        approvals=body.approvals,
    )


def _tenant(tenant: Tenant) -> TenantView:
    return TenantView(
        tenant_id=UUID(tenant.tenant_id),
        name=tenant.name,
        pseudonym=tenant.pseudonym,
        created_at=clock.to_iso(tenant.created_at_micros),
        owners=list(tenant.owners),
        paging_routes=list(tenant.paging_routes),
        approvals=tenant.approvals,
        agents=[_agent(one) for one in tenant.agents.values()],
    )


def _agent(agent: Agent) -> AgentView:
    return AgentView(
        agent_id=UUID(agent.agent_id),
        name=agent.name,
        status=agent.status,
        registered_at=clock.to_iso(agent.registered_at_micros),
    )


def _key(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "label": key.label,
        "scopes": list(key.scopes),
        "state": key.state(clock.now_micros()),
        "created_at": clock.to_iso(key.created_at_micros),
        "expires_at": _moment(key.expires_at_micros),
        "revoked_at": _moment(key.revoked_at_micros),
    }


def _moment(micros: int | None) -> str | None:
    return None if micros is None else clock.to_iso(micros)
