"""Starts the aggregator: `python -m score_aggregator`."""

from __future__ import annotations

import sys

from pactstream import logs, settings, tracing, worker
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import Fatal
from pactstream.kafka import reach
from score_aggregator import wiring
from score_aggregator.settings import AggregatorSettings


def main() -> int:
    """Run until SIGTERM; 0 after a clean stop, 3 when it cannot go on."""
    try:
        ours = settings.load(AggregatorSettings)
        logs.configure("score_aggregator", ours.log_level)
        tracing.start(ours, "score_aggregator")
        reach.check(ours)
        with ClickHouse(ours) as database:
            processor, projector = wiring.build(ours, database)
            return worker.run(
                [processor.run, projector.run, *(one.run for one in wiring.nights(ours, database))],
                host=ours.bind_host,
                port=ours.aggregator_port,
                ready=lambda: processor.ready and projector.ready,
            )
    except Fatal as error:
        sys.stderr.write(f"score_aggregator: {error}\n")
        return worker.EXIT_FATAL


if __name__ == "__main__":
    sys.exit(main())
