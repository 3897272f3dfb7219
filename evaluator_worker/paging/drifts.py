"""Tells a tenant's team that an agent drifted there, or changed: which features, by how much, since when.

The search for anomalies finds them (`anomalies`); every run here looks at those of the last days again, and
each is told once. It pages nobody.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from evaluator_worker.paging.looking import Database, Sends

_FOUND = """
SELECT toString(tenant_id), toString(agent_id), toString(anomaly_id), kind, since, features, attribution
FROM anomalies FINAL
WHERE detected_at >= now() - INTERVAL 3 DAY
ORDER BY detected_at, tenant_id, agent_id, anomaly_id
"""
_TITLES: Final = {
    "drift": "{name}: behaves otherwise with you than before, and than elsewhere",
    "agent_changed": "{name}: has changed",
}


@dataclass(frozen=True, slots=True)
class Drifts:
    """What to tell of anomalies. `name_of` an agent in a tenant; `console_url`: where links lead, or empty."""

    database: Database
    notices: Sends
    name_of: Any
    console_url: str

    def look(self) -> int:
        """Tell what was not told yet; how many notices that took.

        Raises:
            Retryable: ClickHouse or Kafka does not answer.
            Fatal: there is no such table.
        """
        told = 0
        for tenant_id, agent_id, anomaly_id, kind, since, features, attribution in self.database.rows(_FOUND):
            name = self.name_of(tenant_id, agent_id) or agent_id
            title = _TITLES[kind].format(name=name)
            body = described(since, json.loads(features), json.loads(attribution))
            links = {"console": f"{self.console_url}/console/agents/{agent_id}"} if self.console_url else {}
            told += self.notices.send(tenant_id, title, body, links, f"anomaly/{anomaly_id}")
        return told


def described(since: datetime, features: Sequence[dict[str, Any]], attribution: dict[str, str]) -> str:
    """An anomaly in words: the tenant's own figures, and the versions that its own metadata name."""
    lines = [f"Since about {since:%Y-%m-%d %H:%M} UTC:"]
    lines += [
        f"  {one['feature']} {one['direction']}: {one['observed']:.4g}, usually {one['usual']:.4g} "
        f"({one['effect']:+.1f} standard deviations)"
        for one in features
    ]
    named = {"model_version": "model", "prompt_version": "prompt"}
    return "\n".join(lines + [f"With {named[key]} {value}." for key, value in sorted(attribution.items())])
