"""Making and ending subscriptions: read-modify-write on a compacted topic, one change at a time (ADR 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from pactstream import clock, ids
from pactstream.kafka import topics
from pactstream.kafka.table import Changed, Changes
from pactstream.settings import KafkaSettings
from pactstream.web import Refused
from pactstream.webhooks import signature
from pactstream.webhooks.addresses import check_url
from pactstream.webhooks.records import Kind, Subscription, SubscriptionBook

MAX_SUBSCRIPTIONS = 100
"""Of one tenant."""
MAX_AGENTS = 100
"""In one subscription."""


class Subscriptions(Protocol):
    """What the routes need. Blocking."""

    def create(self, tenant_id: str, url: str, agents: Sequence[UUID], kinds: Sequence[Kind]) -> Subscription:
        """A new subscription of the tenant. Raises `InvalidInput`, `Refused` (409), `Retryable`."""

    def delete(self, tenant_id: str, subscription_id: str) -> None:
        """End a subscription of the tenant. Raises `Refused` (404), `Retryable`."""

    def of_tenant(self, tenant_id: str) -> list[Subscription]:
        """The tenant's subscriptions."""

    def secret(self, subscription: Subscription) -> str:
        """The secret that its messages are signed with."""


class KafkaSubscriptions:
    """Subscriptions on the topic `trust.subscriptions`."""

    def __init__(self, settings: KafkaSettings, key: bytes, *, allow_private: bool) -> None:
        self._key = key
        self._allow_private = allow_private
        self._book = SubscriptionBook(settings)
        self._changes = Changes(settings, "oracle-subscriptions", [self._book.table])

    def create(self, tenant_id: str, url: str, agents: Sequence[UUID], kinds: Sequence[Kind]) -> Subscription:
        """A new subscription of the tenant.

        Raises:
            InvalidInput: the URL may not be called.
            Refused: 409, the tenant has as many as it may.
            Retryable: Kafka does not take it.
        """
        check_url(url, allow_private=self._allow_private)
        made = Subscription(
            str(ids.uuid7()),
            tenant_id,
            url,
            tuple(dict.fromkeys(map(str, agents))),
            tuple(dict.fromkeys(kinds)),
            clock.now_micros(),
        )

        def decide() -> list[Changed]:
            if len(self._book.of_tenant(tenant_id)) >= MAX_SUBSCRIPTIONS:
                raise Refused(409, f"a tenant has at most {MAX_SUBSCRIPTIONS} subscriptions: delete one")
            return [(topics.SUBSCRIPTIONS, made.subscription_id, made.encode())]

        self._changes.apply(decide)
        return made

    def delete(self, tenant_id: str, subscription_id: str) -> None:
        """End a subscription of the tenant; what is under way to it is dropped.

        Raises:
            Refused: 404, the tenant has no such subscription.
            Retryable: Kafka does not take it.
        """

        def decide() -> list[Changed]:
            found = self._book.get(subscription_id)
            if found is None or found.tenant_id != tenant_id:
                raise Refused(404, "you have no such subscription")
            return [(topics.SUBSCRIPTIONS, subscription_id, None)]

        self._changes.apply(decide)

    def of_tenant(self, tenant_id: str) -> list[Subscription]:
        """The tenant's subscriptions, oldest first."""
        return self._book.of_tenant(tenant_id)

    def secret(self, subscription: Subscription) -> str:
        """The secret that its messages are signed with, `whsec_…`."""
        return signature.shown(signature.secret_of(self._key, subscription.subscription_id))

    def close(self) -> None:
        """Stop following the topic."""
        self._book.close()
