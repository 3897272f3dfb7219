"""Puts together what asks third parties."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Final

from evaluator_worker.external import reach
from evaluator_worker.external.desk import Desk
from evaluator_worker.external.reach import InProcess, OverHttp, Place, Reached
from evaluator_worker.external.settings import ExternalSettings
from evaluator_worker.external.task import ExternalTask
from pactstream import clock
from pactstream.control.issuers import issuer_table
from pactstream.control.pacts import PactBook
from pactstream.evaluation import request
from pactstream.kafka import topics
from pactstream.kafka.processor import Plan, Processor
from pactstream.signing.keys import load_keys, load_keys_from_environment
from pactstream.webhooks import signature
from pactstream.webhooks.sender import Sender

GROUP: Final = "external-evaluators"
KEYS: Final = "evaluators"
"""Folder, in the directory of keys, with one of each evaluator that runs in this process."""


@contextmanager
def build(settings: ExternalSettings) -> Iterator[Processor]:
    """The loop on a real Kafka.

    Raises:
        Fatal: an evaluator is not configured as it must be, or a key is missing.
        Retryable: Kafka does not answer.
    """
    places = reach.read_places(settings.external_evaluators, allow_private=settings.external_allow_private)
    with ExitStack() as held:
        evaluators = _evaluators(settings, places, held)
        issuers = held.enter_context(closing(issuer_table(settings)))
        pacts = held.enter_context(closing(PactBook(settings)))
        for table in (issuers, pacts.table):
            table.catch_up()
        desk = Desk(
            issuers,
            evaluators,
            settings.external_seconds,
            settings.external_failures,
            settings.external_rest_seconds,
        )
        max_age_micros = settings.external_max_age_minutes * 60 * clock.MICROS_PER_SECOND
        yield Processor(
            settings,
            Plan(
                group=GROUP,
                source=topics.EVALUATED,
                changelog=None,
                make_task=lambda partition: ExternalTask(partition, pacts, desk, max_age_micros=max_age_micros),
                max_events=settings.external_max_events,
                linger_seconds=settings.external_linger_seconds,
            ),
        )


def _evaluators(settings: ExternalSettings, places: dict[str, Place], held: ExitStack) -> dict[str, Reached]:
    found: dict[str, Reached] = {}
    # What stands in the environment signs for all that run here: they are the operator's own code, all of them.
    given = load_keys_from_environment(os.environ, "evaluator")
    for issuer, place in places.items():
        if place.plugin:
            (key,) = given or load_keys(settings.key_dir / KEYS / place.plugin, "evaluator")
            found[issuer] = held.enter_context(
                closing(InProcess(place.plugin, reach.plugin(place.plugin), key))
            )
    over_http = {issuer: place.url for issuer, place in places.items() if place.url}
    if over_http:
        webhook_key = signature.load_key(settings.key_dir, os.environ)
        sender = held.enter_context(
            closing(
                Sender(
                    allow_private=settings.external_allow_private,
                    seconds=settings.external_seconds,
                    max_body_bytes=reach.MAX_ANSWER_BYTES,
                )
            )
        )
        for issuer, url in over_http.items():
            found[issuer] = OverHttp(sender, url, request.secret_of(webhook_key, issuer))
    return found
