"""What is worth telling: a score that moved, a critical violation, an agent put out of service or back.

Each watch reads a topic and remembers what was told last. Source offsets, what was told and the deliveries are
one Kafka transaction: after a crash a change is told once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from oracle_api.standing import Standing, worst
from pactstream import avro, canonical, clock
from pactstream.control import tenants
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.records import Emit, Record, Task
from pactstream.webhooks.records import Delivery, Kind, SubscriptionBook, Told, decode_told, told_key

MIN_CHANGE: Final = 1.0
"""A composite that moved by less since it was last told is not told, unless the tier changed."""

_SCORE, _STATUS = "score", "status"


class _Watch(Task):
    """What both have in common: memory, and writing deliveries."""

    def __init__(self, partition: int, book: SubscriptionBook, memory: str) -> None:
        self._partition = partition
        self._book = book
        self._memory = memory
        self._told: dict[str, Told] = {}

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take back what was told; both watches' records stand in one topic."""
        kind, _, whose = key.decode().partition("/")
        if kind != self._memory:
            return
        if value is None:
            self._told.pop(whose, None)
        else:
            self._told[whose] = decode_told(value)

    def flush(self, emit: Emit) -> None:
        """Everything was written with the record that caused it."""

    def _remember(self, whose: str, told: Told, emit: Emit) -> None:
        self._told[whose] = told
        # The source's partition: whoever holds it finds its memory there when it restores.
        key = told_key(self._memory, whose)
        emit(topics.WEBHOOK_STATE, key, told.encode(), partition=self._partition)

    def _tell(self, kind: Kind, agent_id: str, data: Mapping[str, Any], record: Record, emit: Emit) -> None:
        now = clock.now_micros()
        body = canonical.dumps(
            {"type": kind, "timestamp": clock.to_iso(now), "data": {"agentId": agent_id, **data}}
        )
        for subscription in self._book.of_agent(agent_id, kind):
            where = f"{kind}|{agent_id}|{record.partition}|{record.offset}"
            notice_id = f"msg_{sha256(where.encode()).hexdigest()[:32]}"
            delivery = Delivery(notice_id, subscription.subscription_id, body, now)
            emit(topics.DELIVERIES, delivery.key, delivery.encode())


class ScoreWatch(_Watch):
    """Over `trust.scores`: scores that moved, and critical violations."""

    def __init__(self, partition: int, book: SubscriptionBook) -> None:
        super().__init__(partition, book, _SCORE)

    def process(self, record: Record, emit: Emit) -> int:
        """Compare one score with what was told. Raises `InvalidInput` for what is none."""
        if record.value is None:
            return 1
        score = avro.decode_as("Score", record.value)
        agent_id = score["agent_id"]
        known = self._told.get(agent_id, Told())
        composite, tier, criticals = score["composite"], score["tier"], score["violations"].get("critical", 0)
        moved = _moved(known, composite, tier)
        if moved:
            data = {
                "composite": composite,
                "tier": tier,
                "previousComposite": known.composite,
                "previousTier": known.tier,
                "throughSequence": score["through_sequence"],
            }
            self._tell("score.changed", agent_id, data, record, emit)
        if criticals > known.criticals:
            data = {
                "criticalViolations": criticals,
                "newCriticalViolations": criticals - known.criticals,
                "throughSequence": score["through_sequence"],
            }
            self._tell("violation.critical", agent_id, data, record, emit)
        if moved or criticals > known.criticals:
            told = replace(known, criticals=max(criticals, known.criticals))
            self._remember(agent_id, replace(told, composite=composite, tier=tier) if moved else told, emit)
        return 1


class StatusWatch(_Watch):
    """Over `tenants`, whose only partition holds all of them: agents whose standing changed."""

    def __init__(self, partition: int, book: SubscriptionBook) -> None:
        super().__init__(partition, book, _STATUS)

    def process(self, record: Record, emit: Emit) -> int:
        """Compare a tenant's agents with what was told. Raises `InvalidInput` for what is no tenant."""
        if record.key is None:
            raise InvalidInput("a tenant's record has its id as key")
        tenant_id = record.key.decode("utf-8", "replace")
        tenant = None if record.value is None else tenants.decode(record.value)
        now = {one.agent_id: one.status for one in tenant.agents.values()} if tenant else {}
        known = dict(self._statuses(tenant_id))
        if now == known:
            return 1
        changed = sorted(agent for agent in {*now, *known} if now.get(agent) != known.get(agent))
        before = {agent: self._standing(agent) for agent in changed}
        self._remember(tenant_id, Told(statuses=dict(now)), emit)
        for agent in changed:
            standing = self._standing(agent)
            if standing != before[agent]:
                data = {"agentStatus": standing, "previousStatus": before[agent]}
                self._tell("status.changed", agent, data, record, emit)
        return 1

    def _statuses(self, tenant_id: str) -> Mapping[str, str]:
        return self._told.get(tenant_id, Told()).statuses or {}

    def _standing(self, agent_id: str) -> Standing:
        said = (told.statuses or {} for told in self._told.values())
        return worst({one[agent_id] for one in said if agent_id in one})


def _moved(known: Told, composite: float | None, tier: str | None) -> bool:
    if tier != known.tier or (composite is None) != (known.composite is None):
        return True
    return (
        composite is not None and known.composite is not None and abs(composite - known.composite) >= MIN_CHANGE
    )
