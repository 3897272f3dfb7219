"""What is said of an anomaly: to one tenant, in its own figures."""

from __future__ import annotations

from uuid import NAMESPACE_URL, uuid5

import msgspec

DRIFT = "drift"
AGENT_CHANGED = "agent_changed"
OPEN = "open"
CLOSED = "closed"


class Moved(msgspec.Struct, frozen=True):
    """A feature that moved; `effect` in standard deviations of the tenant's own windows."""

    feature: str
    direction: str
    observed: float
    usual: float
    effect: float


class Found(msgspec.Struct, frozen=True):
    """An anomaly of one tenant. Times are minutes since 1970; `minute` is that of its detection."""

    anomaly_id: str
    tenant_id: str
    kind: str
    since: int
    minute: int
    evidence: float
    features: tuple[Moved, ...]
    attribution: dict[str, str]
    status: str = OPEN
    version: int = 1


def anomaly_id(agent_id: str, kind: str, tenant_id: str, minute: int) -> str:
    """A name that a replay finds again; a change of the agent has one for all tenants."""
    whose = tenant_id if kind == DRIFT else ""
    return str(uuid5(NAMESPACE_URL, f"pactstream:{agent_id}/{kind}/{whose}/{minute}"))
