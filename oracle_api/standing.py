"""Whether an agent is in service, as its tenants say: from the compacted topic `tenants`, read only.

An agent may be registered by several tenants. The report says the worst of what they say, and never whose word
it is. When the topic could not be confirmed for a while (`confirmed.py`), every standing is "unknown": a pause
may have been missed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal, Protocol, TypeAlias
from uuid import UUID

from oracle_api.confirmed import Confirmed
from pactstream.control.tenants import AgentStatus, TenantDirectory

Standing: TypeAlias = Literal["active", "paused", "revoked", "unregistered", "unknown"]

WORST_FIRST: Final[tuple[AgentStatus, ...]] = ("revoked", "paused", "active")
"""Of several tenants' words, the first of these that any of them says."""


def worst(said: Collection[str]) -> Standing:
    """The standing of an agent of which tenants say this."""
    if not said:
        return "unregistered"
    return next((one for one in WORST_FIRST if one in said), "unknown")


class Standings(Protocol):
    """Where standings come from; asked on every request, so it must not wait for anything."""

    def of(self, agent_id: UUID) -> Standing:
        """The agent's standing now."""

    @property
    def ready(self) -> bool:
        """Whether standings are known."""


class TenantStandings:
    """Standings from the tenants' directory; a thread confirms now and then that it is current."""

    def __init__(self, directory: TenantDirectory) -> None:
        self._directory = directory
        self._confirmed = Confirmed(directory.table, "the agents' standing")

    @property
    def ready(self) -> bool:
        """Whether the directory was read to its end a short while ago."""
        return self._confirmed.ready

    def of(self, agent_id: UUID) -> Standing:
        """The worst that any tenant says of the agent; "unregistered" if none knows it."""
        if not self.ready:
            return "unknown"
        agent = str(agent_id)
        return worst({tenant.agents[agent].status for tenant in self._directory.tenants_of(agent)})

    def close(self) -> None:
        """Stop following."""
        self._confirmed.close()
        self._directory.close()
