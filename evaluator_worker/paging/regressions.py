"""Tells the teams of an agent's tenants that its score fell overnight: by which dimensions, for which events.

The aggregator finds the falls (`score_regressions`); every run here looks at those of the last days again, and
each is told once to each tenant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evaluator_worker.paging.looking import Database, Sends
from pactstream.control.tenants import Tenant

_FALLS = """
SELECT toString(agent_id) AS agent, toString(day) AS at, composite, previous,
       arrayZip(contributions.dimension, contributions.micros) AS parts,
       arrayZip(arrayMap(one -> toString(one), events.event_id), events.dimension, events.what) AS behind
FROM score_regressions FINAL
WHERE day >= today() - 3
ORDER BY at, agent
"""
_MICROS = 1_000_000
_MAX_EVENTS = 20


class Directory(Protocol):
    """What is needed of the tenants."""

    def tenants_of(self, agent_id: str) -> list[Tenant]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Regressions:
    """What to tell of falls. `console_url` and `oracle_url`: where links lead, or empty."""

    database: Database
    directory: Directory
    notices: Sends
    console_url: str
    oracle_url: str

    def look(self) -> int:
        """Tell what was not told yet; how many notices that took.

        Raises:
            Retryable: ClickHouse or Kafka does not answer.
            Fatal: there is no such table.
        """
        told = 0
        for agent_id, day, composite, previous, parts, behind in self.database.rows(_FALLS):
            for tenant in self.directory.tenants_of(agent_id):
                name = tenant.agents[agent_id].name
                title = f"{name}: score fell by {previous - composite:.1f} points to {composite:.1f}"
                body = described(day, parts, behind)
                links = self._links(agent_id, behind)
                told += self.notices.send(tenant.tenant_id, title, body, links, f"score/{agent_id}/{day}")
        return told

    def _links(self, agent_id: str, behind: Iterable[Sequence[Any]]) -> dict[str, str]:
        links = {}
        if self.console_url:
            links["console"] = f"{self.console_url}/console/agents/{agent_id}"
        if self.oracle_url:
            links["report"] = f"{self.oracle_url}/api/v1/trust/{agent_id}"
            for event_id, _, _ in list(behind)[:_MAX_EVENTS]:
                links[f"event {event_id}"] = f"{self.oracle_url}/api/v1/ledger/events/{event_id}/proof"
        return links


def described(day: str, parts: Iterable[Sequence[Any]], behind: Iterable[Sequence[Any]]) -> str:
    """A fall in words: what each dimension took or gave, the worst first, and the latest events behind it."""
    moved = sorted(((micros, name) for name, micros in parts if micros), key=lambda one: one[0])
    lines = [f"Nightly scores up to {day}. By dimension, in points:"]
    lines += [f"  {micros / _MICROS:+.2f} {name}" for micros, name in moved]
    events = [f"  {event_id} ({dimension}: {what})" for event_id, dimension, what in behind][:_MAX_EVENTS]
    return "\n".join([*lines, "Events that count against what fell:", *events] if events else lines)
