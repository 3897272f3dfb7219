"""Starts the pushing process: `python -m oracle_api.push`."""

from __future__ import annotations

import sys
from contextlib import closing

from oracle_api.push import wiring
from oracle_api.settings import OracleSettings
from pactstream import logs, settings, tracing, worker
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import Fatal, Retryable
from pactstream.kafka import reach
from pactstream.webhooks.records import SubscriptionBook
from pactstream.webhooks.sender import Sender


def main() -> int:
    """Push until SIGTERM; 0 after a clean stop, 3 when it cannot go on."""
    try:
        ours = settings.load(OracleSettings)
        logs.configure("oracle_push", ours.log_level)
        tracing.start(ours, "oracle_push")
        reach.check(ours)
        with (
            closing(SubscriptionBook(ours)) as book,
            closing(Sender(allow_private=ours.webhook_allow_private)) as sender,
            ClickHouse(ours) as database,
        ):
            # A change must not be weighed before it is known who wants to hear of it.
            book.table.catch_up()
            watches, deliverer = wiring.watches(ours, book), wiring.deliverer(ours, book, sender)
            return worker.run(
                [*(one.run for one in watches), deliverer.run, wiring.sample_copier(ours, database).run],
                host=ours.bind_host,
                port=ours.push_port,
                ready=lambda: deliverer.ready and all(one.ready for one in watches),
            )
    except (Fatal, Retryable) as error:
        sys.stderr.write(f"oracle_push: {error}\n")
        return worker.EXIT_FATAL


if __name__ == "__main__":
    sys.exit(main())
