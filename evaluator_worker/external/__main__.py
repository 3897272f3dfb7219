"""Starts what asks third parties: `python -m evaluator_worker.external`."""

from __future__ import annotations

import sys

from evaluator_worker.external import wiring
from evaluator_worker.external.settings import ExternalSettings
from pactstream import logs, settings, tracing, worker
from pactstream.errors import Fatal, Retryable
from pactstream.kafka import reach


def main() -> int:
    """Ask until SIGTERM; 0 after a clean stop, 3 when it cannot go on."""
    try:
        ours = settings.load(ExternalSettings)
        logs.configure("external", ours.log_level)
        tracing.start(ours, "external")
        reach.check(ours)
        with wiring.build(ours) as processor:
            return worker.run(
                [processor.run], host=ours.bind_host, port=ours.external_port, ready=lambda: processor.ready
            )
    except (Fatal, Retryable) as error:
        sys.stderr.write(f"external: {error}\n")
        return worker.EXIT_FATAL


if __name__ == "__main__":
    sys.exit(main())
