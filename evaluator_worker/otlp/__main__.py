"""Starts the relay to OpenTelemetry: `python -m evaluator_worker.otlp`."""

from __future__ import annotations

import sys

from evaluator_worker.otlp import wiring
from evaluator_worker.otlp.settings import OtlpSettings
from pactstream import logs, settings, tracing, worker
from pactstream.errors import Fatal
from pactstream.kafka import reach


def main() -> int:
    """Run until SIGTERM; 0 after a clean stop, 3 when it cannot go on."""
    try:
        ours = settings.load(OtlpSettings)
        logs.configure("otlp", ours.log_level)
        tracing.start(ours, "otlp")
        reach.check(ours)
        relays = wiring.build(ours)
        return worker.run(
            [relay.run for relay in relays],
            host=ours.bind_host,
            port=ours.otlp_port,
            ready=lambda: all(relay.ready for relay in relays),
        )
    except Fatal as error:
        sys.stderr.write(f"otlp: {error}\n")
        return worker.EXIT_FATAL


if __name__ == "__main__":
    sys.exit(main())
