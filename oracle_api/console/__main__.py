"""Starts the console: `python -m oracle_api.console`."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing

from oracle_api.console import wiring
from oracle_api.console.app import create_app
from oracle_api.console.ended import EndedSessions
from oracle_api.console.settings import ConsoleSettings
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
        ours = settings.load(ConsoleSettings)
        logs.configure("oracle_api.console", ours.log_level)
        tracing.start(ours, "oracle_api.console")
        reach.check(ours)
        directory = TenantDirectory(ours)
        with ExitStack() as opened:
            opened.enter_context(server.metrics(ours.metrics_host, ours.console_metrics_port))
            database = opened.enter_context(ClickHouse(ours))
            database.check()
            standings = opened.enter_context(closing(TenantStandings(directory)))
            publisher = opened.enter_context(closing(Publisher(ours, queue_records=1_000, timeout_seconds=5)))
            ended = opened.enter_context(closing(EndedSessions(ours, publisher.publish)))
            parts = wiring.build(ours, database, directory, standings, ended)
            app, tls = create_app(parts), server.tls_of(ours)
            return server.serve(app, ours.bind_host, ours.console_port, parts.live.close, tls=tls)
    except Fatal as error:
        sys.stderr.write(f"oracle_api.console: {error}\n")
        return worker.EXIT_FATAL


if __name__ == "__main__":
    sys.exit(main())
