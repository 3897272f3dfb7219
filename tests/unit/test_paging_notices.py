"""Notices that page nobody: falls of scores, each told once to each tenant."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import pytest

from evaluator_worker.paging.looking import every
from evaluator_worker.paging.regressions import Regressions, described
from pactstream.control.tenants import Agent, Tenant
from pactstream.errors import Retryable
from pactstream.kafka import topics
from pactstream.paging import records
from pactstream.paging.notices import Notices
from pactstream.paging.records import RouteBook, mark_table
from pactstream.settings import KafkaSettings
from pactstream.webhooks.records import Delivery, decode_delivery
from tests.gateway_tools import MemoryTable
from tests.paging_tools import route

AGENT = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
FALL = (
    AGENT,
    "2026-05-13",
    71.5,
    80.0,
    [("pact_compliance", -9_000_000), ("latency", 500_000), ("uptime", 0)],
    [("0190d0a0-0000-7000-8000-0000000000e1", "pact_compliance", "critical")],
)


@dataclass
class Told:
    """`Changes` without Kafka; keeps what goes to other topics than its tables'."""

    tables: dict[str, Any]
    deliveries: list[Delivery] = field(default_factory=list)

    def apply(self, decide: Any) -> None:
        for topic, key, value in decide():
            if topic == topics.PAGE_DELIVERIES:
                self.deliveries.append(decode_delivery(value))
            else:
                self.tables[topic].put(key, value)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> tuple[Notices, Told]:
    monkeypatch.setattr(records, "Table", MemoryTable)
    settings = KafkaSettings()
    marks, routes = mark_table(settings), RouteBook(settings)
    table: Any = routes.table
    for one in (
        route("r-1", tenant_id="t", severities=("notice",)),
        route("r-2", tenant_id="t"),
        route("r-3", tenant_id="u", severities=("critical", "notice")),
    ):
        table.put(one.route_id, one.encode())
    changes: Any = Told({topics.PAGING_MARKS: marks})
    return Notices(changes, marks, routes), changes


def test_a_notice_goes_once_to_the_routes_that_take_it(told: tuple[Notices, Told]) -> None:
    notices, changes = told
    links = {"console": "https://console.example"}
    assert notices.send("t", "title", "body", links, "about/1")
    assert not notices.send("t", "title, found again", "body", links, "about/1")
    assert notices.send("t", "title", "body", links, "about/2")
    assert notices.send("u", "title", "body", {}, "about/1")
    assert [one.subscription_id for one in changes.deliveries] == ["r-1", "r-1", "r-3"]
    data = json.loads(changes.deliveries[0].body)["data"]
    assert (data["severity"], data["links"]) == ("notice", links)


def test_a_tenant_without_such_a_route_is_told_nothing_and_it_is_remembered(told: tuple[Notices, Told]) -> None:
    notices, changes = told
    assert notices.send("v", "title", "body", {}, "about/1")
    assert not notices.send("v", "title", "body", {}, "about/1")
    assert changes.deliveries == []


class Falls:
    """ClickHouse with one fall."""

    def rows(self, sql: str) -> list[Any]:
        return [FALL]


class Owners:
    """Two tenants of the agent."""

    def tenants_of(self, agent_id: str) -> list[Tenant]:
        agent = Agent(agent_id, "Atlas", "active", 0)
        return [Tenant(one, one, f"tenant-{one}", 0).with_agent(agent) for one in ("t", "u")]


def test_a_fall_is_told_to_each_tenant_by_dimension_once(told: tuple[Notices, Told]) -> None:
    notices, changes = told
    watch = Regressions(Falls(), Owners(), notices, "https://console.example", "https://oracle.example")
    assert watch.look() == 2
    assert watch.look() == 0
    data = json.loads(changes.deliveries[0].body)["data"]
    assert data["title"] == "Atlas: score fell by 8.5 points to 71.5"
    assert data["links"]["console"].endswith(f"/console/agents/{AGENT}")
    assert sum("proof" in link for link in data["links"].values()) == 1


def test_what_fails_is_looked_at_again_until_it_shall_stop() -> None:
    stop = Event()
    looks: list[None] = []

    def look() -> int:
        looks.append(None)
        if len(looks) == 1:
            raise Retryable("ClickHouse does not answer")
        stop.set()
        return 0

    every(0.001, look, "falls")(stop)
    assert len(looks) == 2


def test_the_worst_dimension_comes_first() -> None:
    lines = described(FALL[1], FALL[4], FALL[5]).splitlines()
    assert lines[1:3] == ["  -9.00 pact_compliance", "  +0.50 latency"]
    assert lines[-1].startswith("  0190d0a0")
