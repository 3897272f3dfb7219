"""Puts the oracle's parts together."""

from __future__ import annotations

import os
from functools import partial

from oracle_api.access import Keys
from oracle_api.feed import Feed
from oracle_api.ledger import published_ledger
from oracle_api.limits import Limiter
from oracle_api.parts import Parts
from oracle_api.reports import Reports, Signer, form
from oracle_api.samples import Publish, Sampler, SelfCheck, sample_for_ever
from oracle_api.settings import OracleSettings
from oracle_api.standing import Standings
from oracle_api.status_store import StatusStore
from oracle_api.store import Store
from oracle_api.subscriptions import KafkaSubscriptions, Subscriptions
from pactstream import canonical
from pactstream.clickhouse.client import ClickHouse
from pactstream.signing.jwks import jwks_document
from pactstream.signing.keys import load_retired
from pactstream.webhooks import signature


def build(
    settings: OracleSettings,
    database: ClickHouse,
    standings: Standings,
    keys: Keys,
    subscriptions: Subscriptions | None = None,
    publish: Publish | None = None,
) -> Parts:
    """The parts on real ClickHouse and real keys.

    Raises:
        Fatal: the signing keys are missing, exposed or malformed.
    """
    signing = settings.report_keys()
    retired = load_retired(settings.key_dir, "report")
    store = Store(database)
    ledger = published_ledger(settings.ledger_source, database)
    signer = Signer(signing, settings.issuer_name, settings.deployment, settings.oracle_report_seconds)
    feed = Feed(
        store,
        deployment=settings.deployment,
        issuer=settings.issuer_name,
        poll_seconds=settings.oracle_poll_seconds,
        max_streams=settings.oracle_streams,
        max_per_address=settings.oracle_streams_per_address,
    )
    jwks = form(canonical.dumps(jwks_document([key.public for key in signing], retired)))
    reports = Reports(store, signer, standings, ledger.proofs)
    sampler = Sampler(settings.instance)
    check = SelfCheck(reports.newest, jwks.body, settings.issuer_name)
    return Parts(
        store=store,
        standings=standings,
        keys=keys,
        subscriptions=subscriptions,
        reports=reports,
        feed=feed,
        jwks=jwks,
        ledger=ledger,
        status=StatusStore(database.rows, settings.issuer_name).document,
        sampler=sampler,
        background=() if publish is None else (partial(sample_for_ever, sampler, check, store, publish),),
        limiter=Limiter(
            settings.oracle_requests_per_minute, settings.oracle_burst, settings.oracle_limits_file
        ),
        file_limiter=Limiter(
            settings.oracle_files_per_minute, settings.oracle_files_burst, settings.oracle_limits_file
        ),
        deployment=settings.deployment,
        max_age_seconds=settings.oracle_max_age_seconds,
        trusted_proxies=settings.oracle_trusted_proxies,
        demo_agent=settings.demo_agent,
    )


def subscriptions(settings: OracleSettings) -> KafkaSubscriptions | None:
    """What subscriptions are made with; None where there is no webhook key, and so nothing is pushed.

    Raises:
        Fatal: the webhook key is exposed or malformed.
    """
    if signature.VARIABLE not in os.environ and not (settings.key_dir / signature.FILE).exists():
        return None
    key = signature.load_key(settings.key_dir, os.environ)
    return KafkaSubscriptions(settings, key, allow_private=settings.webhook_allow_private)
