"""Puts paging's parts together."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any, Final

from evaluator_worker.paging.delivering import (
    RETRY_SECONDS,
    Delivering,
    Mailer,
    Relay,
    series_of,
)
from evaluator_worker.paging.drifts import Drifts
from evaluator_worker.paging.looking import every
from evaluator_worker.paging.projector import projector
from evaluator_worker.paging.regressions import Regressions
from evaluator_worker.paging.settings import PagingSettings
from evaluator_worker.paging.telling import FALLBACK, GROUP, Addresses, Teller
from evaluator_worker.paging.watch import Watch
from pactstream import clock
from pactstream.clickhouse.client import ClickHouse
from pactstream.control.pacts import PactBook
from pactstream.control.tenants import TenantDirectory
from pactstream.kafka import processor, topics
from pactstream.kafka.processor import Processor
from pactstream.kafka.table import Changes
from pactstream.pacts.loosen import demanded
from pactstream.paging.keys import load_keys
from pactstream.paging.notices import Notices
from pactstream.paging.records import Route, RouteBook, mark_table
from pactstream.webhooks import deliverer
from pactstream.webhooks.deliverer import Deliverer
from pactstream.webhooks.sender import Sender

DELIVERER: Final = "page-deliverer"
_FALLS_SECONDS: Final = 60.0
_ANOMALIES_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Parts:
    """The loops, and whether they are at work."""

    loops: list[Callable[[Event], None]]
    ready: Callable[[], bool]


@contextmanager
def build(settings: PagingSettings) -> Iterator[Parts]:
    """Paging on a real Kafka and ClickHouse.

    Raises:
        SigningKeyError: the paging key is missing, exposed or malformed.
        Retryable: Kafka does not answer.
    """
    keys = load_keys(settings.key_dir, os.environ)
    with (
        closing(RouteBook(settings)) as routes,
        closing(PactBook(settings)) as pacts,
        closing(TenantDirectory(settings)) as directory,
        closing(mark_table(settings)) as marks,
        ClickHouse(settings) as database,
        closing(Sender(allow_private=settings.paging_allow_private, seconds=settings.paging_seconds)) as sender,
        closing(Sender(allow_private=True, seconds=settings.paging_seconds)) as own_sender,
        closing(Mailer(_relay(settings))) as mailer,
    ):
        # Before a page is opened it must be known where it goes, and what its pact says.
        for table in (routes.table, pacts.table, directory.table):
            table.catch_up()
        fallback = _fallback(settings)
        teller = Teller(
            routes,
            keys,
            Addresses(
                settings.paging_gateway_url.rstrip("/"),
                settings.paging_oracle_url.rstrip("/"),
                settings.paging_console_url.rstrip("/"),
            ),
            settings.paging_link_hours * 3_600,
            _names(directory),
            fallback is not None,
        )
        watch = _watch(settings, pacts, teller)
        delivering = Delivering(
            routes.find, keys, sender, own_sender, mailer, settings.paging_smtp_from, fallback
        )
        posting = Deliverer(settings, plan(delivering))
        changes = Changes(settings, "page-notices", (marks, routes.table))
        notices = Notices(changes, marks, routes)
        console_url = settings.paging_console_url.rstrip("/")
        falls = Regressions(
            database,
            directory,
            notices,
            console_url,
            settings.paging_oracle_url.rstrip("/"),
        )
        anomalies = Drifts(database, notices, _names(directory), console_url)
        loops: list[Callable[[Event], None]] = [
            watch.run,
            posting.run,
            projector(settings, database).run,
            every(_FALLS_SECONDS, falls.look, "falls of scores"),
            every(_ANOMALIES_SECONDS, anomalies.look, "anomalies"),
        ]
        yield Parts(loops, lambda: watch.ready and posting.ready)


def _watch(settings: PagingSettings, pacts: PactBook, teller: Teller) -> Processor:
    """The loop that opens pages."""
    expected, max_age_micros = _expected(pacts), _max_age_micros(settings)
    return Processor(
        settings,
        processor.Plan(
            group=GROUP,
            source=topics.EVALUATED,
            changelog=topics.PAGING_STATE,
            make_task=lambda partition: Watch(partition, expected, teller, max_age_micros=max_age_micros),
            max_events=settings.paging_max_events,
            linger_seconds=settings.paging_linger_seconds,
        ),
    )


def plan(delivering: Delivering) -> deliverer.Plan:
    """The deliverer's plan for pages."""
    return deliverer.Plan(
        DELIVERER, topics.PAGE_DELIVERIES, delivering.post, RETRY_SECONDS, series_of, delivering.told
    )


def _max_age_micros(settings: PagingSettings) -> int:
    return settings.paging_max_age_hours * 3_600 * clock.MICROS_PER_SECOND


def _relay(settings: PagingSettings) -> Relay:
    return Relay(
        settings.paging_smtp_host,
        settings.paging_smtp_port,
        settings.paging_smtp_from,
        settings.paging_smtp_user,
        settings.paging_smtp_password.get_secret_value(),
        settings.paging_smtp_starttls,
    )


def _fallback(settings: PagingSettings) -> tuple[Route, str] | None:
    secret = settings.paging_fallback_secret.get_secret_value()
    kind, url = settings.paging_fallback_kind, settings.paging_fallback_url
    if not url and not (secret and kind in ("slack", "pagerduty")):
        return None
    return Route(FALLBACK, "", kind, "the operator's", ("critical",), url, (), b"", 0, 0), secret


def _names(directory: TenantDirectory) -> Callable[[str, str], str]:
    def name_of(tenant_id: str, agent_id: str) -> str:
        tenant = directory.get(tenant_id)
        agent = None if tenant is None else tenant.agents.get(agent_id)
        return "" if agent is None else agent.name

    return name_of


def _expected(pacts: PactBook) -> Callable[[str, int, str, str, str | None], Any]:
    def expected(pact_id: str, version: int, param_path: str, rule: str, tool: str | None) -> Any:
        found = pacts.get(pact_id, version)
        if found is None:
            return None  # not here yet: the page does not wait for it
        return demanded(json.loads(found.document), param_path=param_path, rule=rule, tool=tool)

    return expected
