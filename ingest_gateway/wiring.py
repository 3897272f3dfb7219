"""Puts the gateway's parts together."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio.to_thread
from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_delay, wait_fixed

from ingest_gateway.access import Access
from ingest_gateway.evaluators import Evaluators
from ingest_gateway.issuance import Issuance
from ingest_gateway.pact_store import PactStore
from ingest_gateway.page_actions import PageActions
from ingest_gateway.page_links import PageLinks
from ingest_gateway.paging_routes import PagingRoutes
from ingest_gateway.parts import Parts
from ingest_gateway.settings import GatewaySettings
from ingest_gateway.tenancy import Tenancy
from pactstream import clock
from pactstream.control.issuers import issuer_table
from pactstream.control.pacts import PactBook
from pactstream.control.placement import Placement, count_partitions
from pactstream.control.tenants import CHANGES_ID, TenantDirectory
from pactstream.errors import Fatal, Retryable
from pactstream.kafka import topics
from pactstream.kafka.owners import Owners
from pactstream.kafka.publisher import Publisher
from pactstream.kafka.table import Changes, Table
from pactstream.paging.keys import PagingKeys, load_keys
from pactstream.paging.records import PageBook, RouteBook, mark_table
from pactstream.signing.keys import SigningKeyError
from pactstream.web import RateLimiter

_CATCH_UP_SECONDS = 15.0
_READY_SECONDS = 2.0
_PAGING_ID = "page-control"
_EVALUATORS = "evaluator"  # the consumer group
_log = logging.getLogger(__name__)


def build(settings: GatewaySettings) -> Parts:
    """The parts on a real Kafka, with tenants and pacts read to their ends.

    Raises:
        Fatal: Kafka does not answer, or the topics do not exist.
    """
    partitions = _count(settings)  # before the tenants are read, as `Placement` needs it
    directory, pacts, issuers = TenantDirectory(settings), PactBook(settings), issuer_table(settings)
    placement = Placement(directory, partitions, partial(count_partitions, settings))
    pages, routes, marks = PageBook(settings), RouteBook(settings), mark_table(settings)
    control = directory.table, pacts.table, issuers
    tables = (*control, pages.table, routes.table, marks)
    _read_all(settings, tables)
    publisher = Publisher(settings, placement.of, timeout_seconds=settings.gateway_publish_timeout_seconds)
    # One lock for all tables: whether an agent is registered decides whether a pact may name it.
    changes = Changes(settings, CHANGES_ID, control)
    # Pages do not wait for those, nor those for pages.
    paging_changes = Changes(settings, _PAGING_ID, (marks, routes.table))
    keys = _paging_keys(settings)
    store = PactStore(pacts, directory, changes, versions_per_tenant=settings.gateway_pact_versions_per_tenant)
    tenancy = Tenancy(directory, changes, placement)
    actions = PageActions(pages, marks, paging_changes, store, tenancy, publisher)

    def close() -> None:
        publisher.close()
        for table in tables:
            table.close()

    rate, burst = settings.gateway_events_per_second, settings.gateway_events_burst
    preflights = settings.gateway_preflights_per_second
    failures, writes = settings.gateway_failures_per_minute, settings.gateway_pact_writes_per_minute
    return Parts(
        access=Access(
            directory,
            bytes.fromhex(settings.gateway_admin_key_sha256),
            RateLimiter(failures, failures),
            settings.gateway_trusted_proxies,
        ),
        pacts=pacts,
        publisher=publisher,
        evaluators=Evaluators(
            Owners(settings, _EVALUATORS, topics.BATCHES),
            publisher,
            settings,
            settings.gateway_preflight_timeout_seconds,
        ),
        store=store,
        tenancy=tenancy,
        issuance=Issuance(issuers, directory, changes, publisher),
        pages=actions,
        page_links=None if keys is None else PageLinks(actions, directory, keys),
        routing=PagingRoutes(routes, paging_changes, publisher, keys, settings.paging_allow_private),
        events_limiter=RateLimiter(60 * rate, burst),
        preflight_limiter=RateLimiter(60 * preflights, preflights),
        write_limiter=RateLimiter(writes, writes),
        ready=_readiness(tables),
        close=close,
    )


def _paging_keys(settings: GatewaySettings) -> PagingKeys | None:
    """The paging key; without one the gateway does all else."""
    try:
        return load_keys(settings.key_dir, os.environ)
    except SigningKeyError as error:
        _log.warning("no links in pages, and no paging routes: %s", error)
        return None


def _count(settings: GatewaySettings) -> int:
    try:
        return _patient(settings)(count_partitions, settings)
    except Retryable as error:
        raise _hopeless(settings, error) from error


def _read_all(settings: GatewaySettings, tables: Sequence[Table[Any]]) -> None:
    # Before this, a valid key would look unknown.
    attempts = _patient(settings)
    try:
        for table in tables:
            attempts(table.catch_up, min(settings.gateway_start_seconds, _CATCH_UP_SECONDS))
    except Retryable as error:
        for table in tables:
            table.close()
        raise _hopeless(settings, error) from error


def _patient(settings: GatewaySettings) -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(Retryable),
        wait=wait_fixed(0.5),
        stop=stop_after_delay(settings.gateway_start_seconds),
        before_sleep=before_sleep_log(_log, logging.INFO),
        reraise=True,
    )


def _hopeless(settings: GatewaySettings, error: Retryable) -> Fatal:
    return Fatal(
        f"{error}; is Kafka at {settings.kafka_bootstrap}, and were its topics made (pactstream topics apply)?"
    )


def _readiness(tables: Sequence[Table[Any]]) -> Callable[[], Awaitable[bool]]:
    """Whether Kafka answers and the tables are current; asked of Kafka at most every two seconds."""
    answer, asked_at = True, clock.monotonic_seconds()

    def ask() -> bool:
        try:
            for table in tables:
                table.catch_up(_READY_SECONDS)
        except (Retryable, Fatal) as error:
            _log.warning("not ready: %s", error)
            return False
        return True

    async def ready() -> bool:
        nonlocal answer, asked_at
        now = clock.monotonic_seconds()
        if now - asked_at >= _READY_SECONDS:
            asked_at = now
            answer = await anyio.to_thread.run_sync(ask)
        return answer

    return ready
