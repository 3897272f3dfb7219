"""Subscriptions and deliveries as they stand in Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal, TypeAlias, get_args

from pactstream import avro
from pactstream.kafka import topics
from pactstream.kafka.table import Table
from pactstream.settings import KafkaSettings

Kind: TypeAlias = Literal["score.changed", "violation.critical", "status.changed"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who is told what of which agents; `tenant_id` says whose it is."""

    subscription_id: str
    tenant_id: str
    url: str
    agent_ids: tuple[str, ...]
    kinds: tuple[str, ...]
    created_at_micros: int

    def encode(self) -> bytes:
        """Its Avro record."""
        return avro.encode("Subscription", asdict(self))


def decode_subscription(data: bytes) -> Subscription:
    """A subscription from its Avro record. Raises `InvalidInput`."""
    record = avro.decode_as("Subscription", data)
    return Subscription(**record | {"agent_ids": tuple(record["agent_ids"]), "kinds": tuple(record["kinds"])})


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice on its way to one subscription."""

    notice_id: str
    subscription_id: str
    body: bytes
    created_at_micros: int
    attempts: int = 0
    not_before_micros: int = 0

    @property
    def key(self) -> bytes:
        """Its key in the topic: the same notice to the same subscription is the same record."""
        return f"{self.subscription_id}/{self.notice_id}".encode()

    def encode(self) -> bytes:
        """Its Avro record."""
        return avro.encode("Delivery", asdict(self))


def decode_delivery(data: bytes) -> Delivery:
    """A delivery from its Avro record. Raises `InvalidInput`."""
    return Delivery(**avro.decode_as("Delivery", data))


class SubscriptionBook:
    """Every subscription, kept current from Kafka, with an index by agent."""

    def __init__(self, settings: KafkaSettings) -> None:
        # An entry is never wrong for long-gone subscriptions, only useless: the subscription itself is asked.
        self._of_agent: dict[str, frozenset[str]] = {}
        self.table = Table(settings, topics.SUBSCRIPTIONS, decode_subscription, self._on_change)

    def get(self, subscription_id: str) -> Subscription | None:
        """One subscription, or None if there is none."""
        return self.table.get(subscription_id)

    def find(self, subscription_id: str) -> Subscription | None:
        """As `get`; None only if there is none in Kafka either. Raises `Retryable`."""
        found = self.table.get(subscription_id)
        if found is None:
            # It may be a moment old, and what was written for it must not be thrown away.
            self.table.catch_up()
            found = self.table.get(subscription_id)
        return found

    def of_tenant(self, tenant_id: str) -> list[Subscription]:
        """A tenant's subscriptions, oldest first."""
        theirs = (one for one in self.table.values() if one.tenant_id == tenant_id)
        return sorted(theirs, key=lambda one: (one.created_at_micros, one.subscription_id))

    def of_agent(self, agent_id: str, kind: str) -> list[Subscription]:
        """Who is to be told of this kind of news of the agent."""
        found = (self.table.get(one) for one in sorted(self._of_agent.get(agent_id, ())))
        return [one for one in found if one is not None and agent_id in one.agent_ids and kind in one.kinds]

    def close(self) -> None:
        """Stop following the topic."""
        self.table.close()

    def _on_change(self, subscription_id: str, subscription: Subscription | None) -> None:
        if subscription is not None:
            for agent_id in subscription.agent_ids:
                self._of_agent[agent_id] = self._of_agent.get(agent_id, frozenset()) | {subscription_id}


def told_key(kind: str, whose: str) -> bytes:
    """The key under which it stands what subscribers were told last."""
    return f"{kind}/{whose}".encode()


@dataclass(frozen=True, slots=True)
class Told:
    """What subscribers were told last, of an agent's score or of a tenant's agents."""

    composite: float | None = None
    tier: str | None = None
    criticals: int = 0
    statuses: Mapping[str, str] | None = None

    def encode(self) -> bytes:
        """Its Avro record."""
        return avro.encode("Told", asdict(self) | {"statuses": dict(self.statuses or {})})


def decode_told(data: bytes) -> Told:
    """What was told, from its Avro record. Raises `InvalidInput`."""
    return Told(**avro.decode_as("Told", data))
