"""Puts the pushing process together."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Final

from oracle_api.push import samples
from oracle_api.push.watches import ScoreWatch, StatusWatch
from oracle_api.settings import OracleSettings
from pactstream import clock
from pactstream.clickhouse.client import ClickHouse
from pactstream.kafka import processor, topics
from pactstream.kafka.copier import Copier
from pactstream.kafka.processor import Processor
from pactstream.webhooks import signature
from pactstream.webhooks.deliverer import Deliverer, Plan
from pactstream.webhooks.records import Delivery, SubscriptionBook
from pactstream.webhooks.sender import Answer, Sender

GROUP: Final = "webhook-deliverer"

_MAX_RECORDS = 2_000
_LINGER_SECONDS = 0.05


def watches(settings: OracleSettings, book: SubscriptionBook) -> list[Processor]:
    """The loops that turn scores and standings into deliveries."""
    sources = (("webhook-scores", topics.SCORES, ScoreWatch), ("webhook-statuses", topics.TENANTS, StatusWatch))
    return [
        Processor(
            settings,
            processor.Plan(
                group=group,
                source=source,
                changelog=topics.WEBHOOK_STATE,
                make_task=partial(watch, book=book),
                max_events=_MAX_RECORDS,
                linger_seconds=_LINGER_SECONDS,
            ),
        )
        for group, source, watch in sources
    ]


def sample_copier(settings: OracleSettings, database: ClickHouse) -> Copier:
    """The loop that copies samples to ClickHouse."""
    return samples.copier(settings, partial(samples.insert, database))


def deliverer(settings: OracleSettings, book: SubscriptionBook, sender: Sender) -> Deliverer:
    """The loop that posts them.

    Raises:
        SigningKeyError: the webhook key is missing, exposed or malformed.
    """
    key = signature.load_key(settings.key_dir, os.environ)
    return Deliverer(settings, Plan(GROUP, topics.DELIVERIES, posting(book, sender, key)))


def posting(book: SubscriptionBook, sender: Sender, key: bytes) -> Callable[[Delivery], Future[Answer] | None]:
    """How a notice goes to its subscription: signed with the secret of that; None where it has been ended."""

    def post(delivery: Delivery) -> Future[Answer] | None:
        subscription = book.find(delivery.subscription_id)
        if subscription is None:
            return None
        secret = signature.secret_of(key, delivery.subscription_id)
        seconds = clock.now_micros() // clock.MICROS_PER_SECOND
        headers = signature.headers(secret, delivery.notice_id, delivery.body, seconds)
        return sender.post(subscription.url, headers, delivery.body)

    return post
