"""Teams are told of drift in their own figures, each once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from evaluator_worker.paging.drifts import Drifts

MOVED = {"feature": "latency", "direction": "up", "observed": 253.87, "usual": 199.1, "effect": 1.55}


class Told:
    """Keeps what was sent, each key once."""

    def __init__(self) -> None:
        self.notices: dict[tuple[str, str], tuple[str, str, dict[str, str]]] = {}

    def send(self, tenant_id: str, title: str, body: str, links: dict[str, str], dedup_key: str) -> bool:
        new = (tenant_id, dedup_key) not in self.notices
        self.notices.setdefault((tenant_id, dedup_key), (title, body, links))
        return new


class Rows:
    def __init__(self, *rows: Any) -> None:
        self._rows = rows

    def rows(self, sql: str) -> Any:
        assert "FROM anomalies FINAL" in sql
        return self._rows


def row(tenant: str, kind: str, attribution: dict[str, str]) -> Any:
    since = datetime(2026, 11, 26, 1, 5, tzinfo=UTC)
    return (tenant, "agent", "id", kind, since, json.dumps([MOVED]), json.dumps(attribution))


def test_each_tenant_is_told_once_of_its_own() -> None:
    told = Told()
    rows = Rows(row("t1", "drift", {}), row("t2", "agent_changed", {"model_version": "m-2"}))
    drifts = Drifts(rows, told, lambda tenant, agent: "Atlas" if tenant == "t1" else "", "http://console")
    assert [drifts.look(), drifts.look()] == [2, 0]
    title, body, links = told.notices["t1", "anomaly/id"]
    assert title.startswith("Atlas: behaves otherwise")
    assert body.splitlines() == [
        "Since about 2026-11-26 01:05 UTC:",
        "  latency up: 253.9, usually 199.1 (+1.6 standard deviations)",
    ]
    assert links == {"console": "http://console/console/agents/agent"}
    title, body, _ = told.notices["t2", "anomaly/id"]
    assert title == "agent: has changed"
    assert body.endswith("With model m-2.")
