"""Puts the console's parts together."""

from __future__ import annotations

import logging
import os

from oracle_api.console.access import Access, Lifetimes
from oracle_api.console.agents import Agents
from oracle_api.console.ended import Ended
from oracle_api.console.events import Events
from oracle_api.console.gateway import Gateway
from oracle_api.console.live import Live
from oracle_api.console.parts import Parts
from oracle_api.console.rows import Rows
from oracle_api.console.seal import Seal
from oracle_api.console.settings import ConsoleSettings
from oracle_api.ledger import published_ledger
from oracle_api.limits import Limiter
from oracle_api.standing import TenantStandings
from pactstream import clock
from pactstream.clickhouse.client import ClickHouse
from pactstream.control.tenants import TenantDirectory
from pactstream.signing.keys import SECRET_BYTES

_log = logging.getLogger(__name__)


def build(
    settings: ConsoleSettings,
    database: ClickHouse,
    directory: TenantDirectory,
    standings: TenantStandings,
    ended: Ended,
) -> Parts:
    """The parts on a real ClickHouse and the topics of tenants and of sessions that have ended.

    Raises:
        Fatal: the key of sessions is exposed or malformed.
    """
    key = settings.session_key()
    if key is None:
        _log.warning("no key for sessions: they end with this process, and its peers do not know them")
        key = os.urandom(SECRET_BYTES)
    minute = 60 * clock.MICROS_PER_SECOND
    lifetimes = Lifetimes(settings.console_idle_minutes * minute, settings.console_session_hours * 60 * minute)
    logins = settings.console_logins_per_minute
    requests = settings.console_requests_per_minute
    access = Access(
        directory,
        Seal(key),
        lifetimes,
        ended,
        console_url=settings.console_url,
        logins=Limiter(logins, logins),
        requests=Limiter(requests, requests // 4),
        trusted_proxies=settings.console_trusted_proxies,
    )
    rows = Rows(database)
    return Parts(
        access=access,
        ready=lambda: standings.ready and ended.ready,
        rows=rows,
        events=Events(rows),
        agents=Agents(rows),
        live=Live(rows, settings.console_poll_seconds),
        gateway=Gateway(settings.gateway_url),
        ledger=published_ledger(settings.ledger_source, database),
    )
