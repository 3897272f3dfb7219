"""Starts the search for anomalies: `python -m evaluator_worker.anomaly`."""

from __future__ import annotations

import sys
from functools import partial

from evaluator_worker.anomaly import projector
from evaluator_worker.anomaly.app import AnomalyApp
from evaluator_worker.anomaly.settings import AnomalySettings
from pactstream import logs, settings, tracing, worker
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import Fatal
from pactstream.kafka import reach


def main() -> int:
    """Run until SIGTERM; 0 after a clean stop, 3 when it cannot go on."""
    try:
        ours = settings.load(AnomalySettings)
        logs.configure("anomaly", ours.log_level)
        tracing.start(ours, "anomaly")
        reach.check(ours)
        with ClickHouse(ours) as database:
            app = AnomalyApp(ours)
            write = partial(projector.insert, database)
            rows = projector.projector(ours, write, ours.anomaly_projection_seconds)
            return worker.run(
                [app.run, rows.run],
                host=ours.bind_host,
                port=ours.anomaly_port,
                ready=lambda: app.ready and rows.ready,
            )
    except Fatal as error:
        sys.stderr.write(f"anomaly: {error}\n")
        return worker.EXIT_FATAL


if __name__ == "__main__":
    sys.exit(main())
