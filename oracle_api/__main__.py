"""Starts the oracle: `python -m oracle_api`."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing

from oracle_api import wiring
from oracle_api.app import create_app
from oracle_api.settings import OracleSettings
from oracle_api.standing import TenantStandings
from pactstream import logs, server, settings, tracing, worker
from pactstream.clickhouse.client import ClickHouse
from pactstream.control.tenants import TenantDirectory
from pactstream.errors import Fatal
from pactstream.kafka import reach
from pactstream.kafka.publisher import Publisher


def main() -> int:
    """Serve until SIGTERM; 0 after a clean stop, 3 when it cannot go on."""
    try:
        ours = settings.load(OracleSettings)
        logs.configure("oracle_api", ours.log_level)
        tracing.start(ours, "oracle_api")
        reach.check(ours)
        directory = TenantDirectory(ours)
        with ExitStack() as opened:
            opened.enter_context(server.metrics(ours.metrics_host, ours.oracle_metrics_port))
            database = opened.enter_context(ClickHouse(ours))
            database.check()
            standings = opened.enter_context(closing(TenantStandings(directory)))
            subscriptions = wiring.subscriptions(ours)
            if subscriptions is not None:
                opened.callback(subscriptions.close)
            publisher = opened.enter_context(closing(Publisher(ours)))
            parts = wiring.build(ours, database, standings, directory, subscriptions, publisher.publish)
            tls = server.tls_of(ours)
            return server.serve(create_app(parts), ours.bind_host, ours.oracle_port, parts.feed.close, tls=tls)
    except Fatal as error:
        sys.stderr.write(f"oracle_api: {error}\n")
        return worker.EXIT_FATAL


if __name__ == "__main__":
    sys.exit(main())
