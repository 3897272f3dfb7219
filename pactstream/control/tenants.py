"""Tenants as every process sees them: their agents, their API keys, who owns them and whom to page.

An API key reads `pk_live_<key id>_<secret>`: the id is public and may stand in logs, the secret has 256 random
bits. Only the SHA-256 of the whole key is kept. A slow password hash would add nothing: it makes guessing dear
where secrets are guessable, and these are not.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, get_args

from pactstream import avro
from pactstream.kafka import topics
from pactstream.kafka.table import Table
from pactstream.settings import KafkaSettings

Scope: TypeAlias = Literal[
    "telemetry:write",
    "preflight",
    "pacts:read",
    "pacts:write",
    "trust:private",
    "pages:act",
    "pages:admin",
]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
AgentStatus: TypeAlias = Literal["active", "paused", "revoked"]
KeyState: TypeAlias = Literal["valid", "expired", "revoked"]

CHANGES_ID: Final = "control-plane"
"""The transactional id under which tenants are changed, one change at a time (`Changes`)."""

_SCHEMA = "Tenant"
_KEY = re.compile(r"pk_live_([0-9a-f]{16})_[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as one tenant registered it; one that is not active may not send events.

    `partition`: where its events go, the same in all its tenants, and for good (`placement.py`). None: it was
    registered by an earlier release, and they go where its key leads.
    """

    agent_id: str
    name: str
    status: AgentStatus
    registered_at_micros: int
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of an API key; times in microseconds since 1970."""

    key_id: str
    sha256: bytes = field(repr=False)
    label: str
    scopes: tuple[str, ...]
    created_at_micros: int
    expires_at_micros: int | None = None
    revoked_at_micros: int | None = None

    def state(self, now_micros: int) -> KeyState:
        """Whether the key still opens anything."""
        if self.revoked_at_micros is not None:
            return "revoked"
        if self.expires_at_micros is not None and now_micros >= self.expires_at_micros:
            return "expired"
        return "valid"


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant; agents by agent id and keys by key id. `approvals`: keys that must agree to loosen a pact."""

    tenant_id: str
    name: str
    pseudonym: str
    created_at_micros: int
    owners: tuple[str, ...] = ()
    paging_routes: tuple[str, ...] = ()
    agents: Mapping[str, Agent] = field(default_factory=dict)
    keys: Mapping[str, ApiKey] = field(default_factory=dict)
    approvals: int = 1

    def with_agent(self, agent: Agent) -> Tenant:
        """The tenant with this agent added, or put in the place of its former self."""
        return replace(self, agents={**self.agents, agent.agent_id: agent})

    def with_key(self, key: ApiKey) -> Tenant:
        """The tenant with this key added, or put in the place of its former self."""
        return replace(self, keys={**self.keys, key.key_id: key})

    def encode(self) -> bytes:
        """Its Avro record."""
        record = asdict(self)
        record["agents"] = list(record["agents"].values())
        record["keys"] = list(record["keys"].values())
        return avro.encode(_SCHEMA, record)


def decode(data: bytes) -> Tenant:
    """A tenant from its Avro record.

    Raises:
        InvalidInput: it is none.
    """
    record = avro.decode_as(_SCHEMA, data)
    agents = [Agent(**one) for one in record.pop("agents")]
    keys = [_key(one) for one in record.pop("keys")]
    return Tenant(
        **record
        | {
            "owners": tuple(record["owners"]),
            "paging_routes": tuple(record["paging_routes"]),
            "agents": {one.agent_id: one for one in agents},
            "keys": {one.key_id: one for one in keys},
        }
    )


def new_pseudonym() -> str:
    """A random name for public views: says nothing about the tenant."""
    return f"tenant-{secrets.token_hex(8)}"


def new_key(
    *, label: str, scopes: Iterable[Scope], now_micros: int, expires_at_micros: int | None = None
) -> tuple[str, ApiKey]:
    """A new API key and its record. The key itself is nowhere kept: show it once."""
    key_id = secrets.token_hex(8)
    key = f"pk_live_{key_id}_{secrets.token_hex(32)}"
    return key, ApiKey(key_id, digest(key), label, tuple(scopes), now_micros, expires_at_micros)


def digest(key: str) -> bytes:
    """What is kept of a key: SHA-256 of its text."""
    return hashlib.sha256(key.encode()).digest()


class TenantDirectory:
    """Every tenant, kept current from Kafka, with indexes by key id and by agent."""

    def __init__(self, settings: KafkaSettings) -> None:
        # An entry is never wrong for long-gone keys or agents, only useless: the tenant itself is asked again.
        self._tenant_of_key: dict[str, str] = {}
        self._tenants_of_agent: dict[str, frozenset[str]] = {}
        self._partition_of_agent: dict[str, int] = {}
        self._agents_in: Counter[int] = Counter()
        self.table = Table(settings, topics.TENANTS, decode, self._on_change)

    def get(self, tenant_id: str) -> Tenant | None:
        """One tenant, or None if this process has not seen it."""
        return self.table.get(tenant_id)

    def find_key(self, presented: str) -> tuple[Tenant, ApiKey] | None:
        """The tenant and the record of a presented key, whatever its state; None if there is no such key."""
        found = _KEY.fullmatch(presented)
        tenant = self.table.get(self._tenant_of_key.get(found[1], "")) if found else None
        key = tenant.keys.get(found[1]) if found and tenant else None
        if tenant is None or key is None or not hmac.compare_digest(digest(presented), key.sha256):
            return None
        return tenant, key

    def tenants_of(self, agent_id: str) -> list[Tenant]:
        """The tenants that registered this agent; the cross-tenant view is made of them."""
        tenants = (self.table.get(one) for one in self._tenants_of_agent.get(agent_id, ()))
        return [one for one in tenants if one is not None and agent_id in one.agents]

    def partition_of(self, agent_id: str) -> int | None:
        """The partition that was chosen for an agent; None: none was, or nobody registered it."""
        return self._partition_of_agent.get(agent_id)

    def agents_in(self, partition: int) -> int:
        """How many agents were put into a partition."""
        return self._agents_in[partition]

    def close(self) -> None:
        """Stop following the topic."""
        self.table.close()

    def _on_change(self, tenant_id: str, tenant: Tenant | None) -> None:
        if tenant is None:
            return
        for key_id in tenant.keys:
            self._tenant_of_key[key_id] = tenant_id
        for agent_id, agent in tenant.agents.items():
            known = self._tenants_of_agent.get(agent_id, frozenset())
            self._tenants_of_agent[agent_id] = known | {tenant_id}
            if agent.partition is not None and agent_id not in self._partition_of_agent:
                self._partition_of_agent[agent_id] = agent.partition
                self._agents_in[agent.partition] += 1


def _key(record: dict[str, Any]) -> ApiKey:
    return ApiKey(**record | {"scopes": tuple(record["scopes"])})
