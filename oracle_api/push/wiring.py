"""Puts the pushing process together."""

from __future__ import annotations

import os
from functools import partial

from oracle_api.push import samples
from oracle_api.push.deliverer import Deliverer, Plan
from oracle_api.push.samples import SampleCopier
from oracle_api.push.watches import ScoreWatch, StatusWatch
from oracle_api.settings import OracleSettings
from pactstream.clickhouse.client import ClickHouse
from pactstream.kafka import processor, topics
from pactstream.kafka.processor import Processor
from pactstream.webhooks import signature
from pactstream.webhooks.records import SubscriptionBook
from pactstream.webhooks.sender import Sender

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


def sample_copier(settings: OracleSettings, database: ClickHouse) -> SampleCopier:
    """The loop that copies samples to ClickHouse."""
    return SampleCopier(settings, partial(samples.insert, database))


def deliverer(settings: OracleSettings, book: SubscriptionBook, sender: Sender) -> Deliverer:
    """The loop that posts them.

    Raises:
        SigningKeyError: the webhook key is missing, exposed or malformed.
    """
    key = signature.load_key(settings.key_dir, os.environ)
    return Deliverer(settings, Plan(book.find, sender.post, key))
