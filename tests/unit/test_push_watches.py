"""What is worth telling, once each, and to whom."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oracle_api.push.watches import ScoreWatch, StatusWatch
from pactstream import avro
from pactstream.control.tenants import Agent, Tenant
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.records import Headers, Record
from pactstream.settings import KafkaSettings
from pactstream.webhooks import records
from pactstream.webhooks.records import KINDS, Subscription, SubscriptionBook, decode_delivery
from tests.gateway_tools import MemoryTable

AGENT, OTHER = "76cf31d6-ffe3-4a5c-8748-021114aa8066", "00000000-0000-4000-8000-000000000001"


class Written:
    """What a watch emitted."""

    def __init__(self) -> None:
        self.all: list[tuple[str, bytes, bytes | None]] = []

    def __call__(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: Headers = (),
    ) -> None:
        assert (topic == topics.WEBHOOK_STATE) == (partition is not None)
        self.all.append((topic, key, value))

    def notices(self) -> list[tuple[str, dict[str, Any]]]:
        """The (subscription, body) of each delivery so far, which are forgotten."""
        found = [decode_delivery(value) for topic, _, value in self.all if topic == topics.DELIVERIES and value]
        self.all = [one for one in self.all if one[0] != topics.DELIVERIES]
        return [(one.subscription_id, json.loads(one.body)) for one in found]


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> SubscriptionBook:
    monkeypatch.setattr(records, "Table", MemoryTable)
    made = SubscriptionBook(KafkaSettings())
    subscribe(made, "s-1", [AGENT], KINDS)
    subscribe(made, "s-2", [AGENT, OTHER], ["status.changed"])
    return made


def subscribe(book: SubscriptionBook, subscription_id: str, agents: list[str], kinds: Any) -> None:
    table: Any = book.table
    made = Subscription(subscription_id, "acme-ag", "https://bank.example/", tuple(agents), tuple(kinds), 1)
    table.put(subscription_id, made.encode())


@pytest.fixture
def written() -> Written:
    return Written()


def score(
    composite: float | None, *, criticals: int = 0, tier: str | None = "gold", through: int = 40
) -> bytes:
    record = {
        "agent_id": AGENT,
        "through_sequence": through,
        "computed_at_micros": 1,
        "first_received_at_micros": 1,
        "last_received_at_micros": 1,
        "sessions": 1,
        "tool_calls": 1,
        "bound_calls": 1,
        "valid_calls": 1,
        "violations": {"critical": criticals} if criticals else {},
        "composite": composite,
        "confidence": 0.5,
        "tier": tier,
    }
    filled: dict[str, Any] = {
        "points": None,
        "covered_weight": 0.0,
        "sample_size": 0.0,
        "method": 1,
        "dimension_scores": [],
        "attestations": [],
    }
    return avro.encode("Score", record | filled)


def feed(
    watch: ScoreWatch | StatusWatch, value: bytes | None, written: Written, offset: int, key: str = AGENT
) -> None:
    watch.process(Record("t", 0, offset, key.encode(), value), written)


def test_a_score_that_moved_is_told_and_a_tremble_is_not(book: SubscriptionBook, written: Written) -> None:
    watch = ScoreWatch(0, book)
    feed(watch, score(80.0), written, 0)
    assert [(who, body["type"], body["data"]["composite"]) for who, body in written.notices()] == [
        ("s-1", "score.changed", 80)
    ]
    for offset, composite in enumerate((80.4, 79.6, 80.9), 1):
        feed(watch, score(composite), written, offset)
    assert written.notices() == []
    feed(watch, score(81.0), written, 4)  # drifted by a whole point since it was told
    ((_, body),) = written.notices()
    assert (body["data"]["previousComposite"], body["data"]["agentId"]) == (80, AGENT)
    feed(watch, score(80.9, tier="silver"), written, 5)
    ((_, body),) = written.notices()
    assert (body["data"]["tier"], body["data"]["previousTier"]) == ("silver", "gold")
    feed(watch, score(None, tier=None), written, 6)
    assert len(written.notices()) == 1


def test_critical_violations_are_told_whether_the_score_moved_or_not(
    book: SubscriptionBook, written: Written
) -> None:
    watch = ScoreWatch(0, book)
    feed(watch, score(80.0), written, 0)
    written.notices()
    feed(watch, score(80.0, criticals=2), written, 1)
    ((_, body),) = written.notices()
    assert body["type"] == "violation.critical"
    assert body["data"] == {
        "agentId": AGENT,
        "criticalViolations": 2,
        "newCriticalViolations": 2,
        "throughSequence": 40,
    }
    feed(watch, score(80.0, criticals=2), written, 2)
    assert written.notices() == []


def test_what_was_told_is_remembered_across_a_restart(book: SubscriptionBook, written: Written) -> None:
    watch = ScoreWatch(0, book)
    feed(watch, score(80.0, criticals=1), written, 0)
    again = ScoreWatch(0, book)
    for _, key, value in [one for one in written.all if one[0] == topics.WEBHOOK_STATE]:
        again.restore(key, value)
    again.restore(b"status/acme", records.Told(statuses={}).encode())
    written.all.clear()
    feed(again, score(80.2, criticals=1), written, 1)
    assert written.all == []


def test_the_same_record_twice_makes_the_same_delivery(book: SubscriptionBook) -> None:
    keys = []
    for _ in range(2):
        written = Written()
        feed(ScoreWatch(0, book), score(80.0), written, 7)
        keys.append([key for topic, key, _ in written.all if topic == topics.DELIVERIES])
    assert keys[0] == keys[1]
    assert len(keys[0]) == 1


def tenant(tenant_id: str, **agents: Any) -> bytes:
    made = Tenant(tenant_id, "A name", "tenant-1", 7)
    for name, status in agents.items():
        made = made.with_agent(Agent(AGENT if name == "agent" else OTHER, "Atlas", status, 8))
    return made.encode()


def test_an_agents_standing_is_told_when_the_worst_word_changes(
    book: SubscriptionBook, written: Written
) -> None:
    watch = StatusWatch(0, book)
    steps = [
        ("acme", tenant("acme", agent="active"), ["unregistered", "active"]),
        ("acme", tenant("acme", agent="active"), None),
        ("bolt", tenant("bolt", agent="paused"), ["active", "paused"]),
        ("acme", tenant("acme", agent="paused"), None),
        ("acme", tenant("acme", agent="revoked"), ["paused", "revoked"]),
        ("acme", None, ["revoked", "paused"]),
        ("bolt", tenant("bolt"), ["paused", "unregistered"]),
    ]
    for offset, (whose, value, expected) in enumerate(steps):
        feed(watch, value, written, offset, whose)
        notices = written.notices()
        told = [[body["data"]["previousStatus"], body["data"]["agentStatus"]] for _, body in notices]
        assert told == ([expected] * 2 if expected else []), offset
        assert "acme" not in str(notices)
        assert "bolt" not in str(notices)


def test_only_whose_agent_it_is_hears_of_it(book: SubscriptionBook, written: Written) -> None:
    watch = StatusWatch(0, book)
    feed(watch, tenant("acme", other="active"), written, 0, "acme")
    assert [who for who, _ in written.notices()] == ["s-2"]
    table: Any = book.table
    table.put("s-2", None)
    feed(watch, tenant("acme", other="paused"), written, 1, "acme")
    assert written.notices() == []


@pytest.mark.parametrize("make", [ScoreWatch, StatusWatch])
def test_what_is_no_record_is_a_dead_letter(make: Any, book: SubscriptionBook, written: Written) -> None:
    with pytest.raises(InvalidInput):
        feed(make(0, book), b"nothing of the kind", written, 0)
