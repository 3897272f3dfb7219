"""Administration of tenants, their agents and API keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, cast
from uuid import UUID

from pactstream import clock
from pactstream.control.placement import Placement
from pactstream.control.tenants import (
    Agent,
    AgentStatus,
    ApiKey,
    Scope,
    Tenant,
    TenantDirectory,
    new_key,
    new_pseudonym,
)
from pactstream.kafka import topics
from pactstream.kafka.table import Changed, Changes
from pactstream.web import Refused

AGENT_SCOPES: Final = frozenset({"telemetry:write", "preflight"})
"""What an agent's key may do."""


class Tenancy:
    """Changes to tenants. Methods block; each change is one step over all gateways, harmless to repeat.

    Each raises `Refused` 404 where the tenant (or agent, or key) does not exist, and `Retryable` where Kafka
    did not take the change.
    """

    def __init__(self, directory: TenantDirectory, changes: Changes, placement: Placement) -> None:
        self._directory = directory
        self._changes = changes
        self._placement = placement

    def all(self) -> list[Tenant]:
        """Every tenant, by name."""
        return sorted(self._directory.table.values(), key=lambda one: (one.name, one.tenant_id))

    def get(self, tenant_id: UUID) -> Tenant:
        """One tenant."""
        return self._existing(str(tenant_id))

    def put(
        self,
        tenant_id: UUID,
        *,
        name: str,
        owners: Sequence[str],
        paging_routes: Sequence[str],
        approvals: int = 1,
    ) -> tuple[Tenant, bool]:
        """The tenant with these properties, and whether it is new; agents and keys stay as they are."""
        key, created = str(tenant_id), False

        def decide() -> Tenant:
            nonlocal created
            before = self._directory.get(key)
            created = before is None
            base = before or Tenant(key, name, new_pseudonym(), clock.now_micros())
            return replace(
                base,
                name=name,
                owners=tuple(owners),
                paging_routes=tuple(paging_routes),
                approvals=approvals,
            )

        return self._change(decide), created

    def put_agent(self, tenant_id: UUID, agent_id: UUID, name: str) -> tuple[Agent, bool]:
        """The agent, registered under this name, and whether it is new; a paused one stays paused."""
        key, created = str(agent_id), False

        def decide() -> Tenant:
            nonlocal created
            tenant = self._existing(str(tenant_id))
            before = tenant.agents.get(key)
            created = before is None
            agent = before or Agent(key, name, "active", clock.now_micros(), self._placement.choose(key))
            return tenant.with_agent(replace(agent, name=name))

        return self._change(decide).agents[key], created

    def set_status(self, tenant_id: UUID, agent_id: UUID, status: AgentStatus) -> Agent:
        """The agent, paused or active from now on."""
        key = str(agent_id)

        def decide() -> Tenant:
            tenant = self._existing(str(tenant_id))
            agent = tenant.agents.get(key)
            if agent is None:
                raise Refused(404, "no such agent of this tenant")
            return tenant.with_agent(replace(agent, status=status))

        return self._change(decide).agents[key]

    def issue_key(
        self, tenant_id: UUID, *, label: str, scopes: Sequence[Scope], expires_at_micros: int | None
    ) -> tuple[str, ApiKey]:
        """A new API key, which nobody can show again, and its record."""
        now = clock.now_micros()
        secret, record = new_key(
            label=label, scopes=scopes, now_micros=now, expires_at_micros=expires_at_micros
        )
        self._change(lambda: self._existing(str(tenant_id)).with_key(record))
        return secret, record

    def revoke_key(self, tenant_id: UUID, key_id: str) -> ApiKey:
        """The key's record; it opens nothing from now on. The first revocation's time stays."""

        def decide() -> Tenant:
            tenant = self._existing(str(tenant_id))
            key = tenant.keys.get(key_id)
            if key is None:
                raise Refused(404, "no such key of this tenant")
            return tenant.with_key(replace(key, revoked_at_micros=key.revoked_at_micros or clock.now_micros()))

        return self._change(decide).keys[key_id]

    def rotate_keys(
        self, tenant_id: UUID, key_ids: frozenset[str] | None = None
    ) -> tuple[list[str], list[tuple[str, ApiKey]]]:
        """Revoke valid keys that can act as an agent, or of those the named ones, and issue one for each.

        Keys are the tenant's: any of them with one of the scopes of agents could have been used by this one. A
        new key has the label, the scopes and the expiry of the one in whose place it comes. Returns the ids of
        those revoked, and each new key with its record.
        """
        revoked: list[str] = []
        issued: list[tuple[str, ApiKey]] = []

        def decide() -> Tenant:
            revoked.clear()
            issued.clear()
            tenant, now = self._existing(str(tenant_id)), clock.now_micros()
            for key in list(tenant.keys.values()):
                named = key_ids is None or key.key_id in key_ids
                if not named or key.state(now) != "valid" or not AGENT_SCOPES & set(key.scopes):
                    continue
                secret, record = new_key(
                    label=key.label,
                    scopes=cast("tuple[Scope, ...]", key.scopes),
                    now_micros=now,
                    expires_at_micros=key.expires_at_micros,
                )
                tenant = tenant.with_key(replace(key, revoked_at_micros=now)).with_key(record)
                revoked.append(key.key_id)
                issued.append((secret, record))
            return tenant

        self._change(decide)
        return revoked, issued

    def _existing(self, tenant_id: str) -> Tenant:
        tenant = self._directory.get(tenant_id)
        if tenant is None:
            raise Refused(404, "no such tenant")
        return tenant

    def _change(self, decide: Callable[[], Tenant]) -> Tenant:
        decided: list[Tenant] = []

        def changed() -> list[Changed]:
            tenant = decide()
            decided[:] = [tenant]
            if tenant == self._directory.get(tenant.tenant_id):
                return []
            return [(topics.TENANTS, tenant.tenant_id, tenant.encode())]

        self._changes.apply(changed)
        return decided[0]
