"""Starts paging: `python -m evaluator_worker.paging`."""

from __future__ import annotations

import sys

from evaluator_worker.paging import wiring
from evaluator_worker.paging.settings import PagingSettings
from pactstream import logs, settings, tracing, worker
from pactstream.errors import Fatal, Retryable
from pactstream.kafka import reach


def main() -> int:
    """Page until SIGTERM; 0 after a clean stop, 3 when it cannot go on."""
    try:
        ours = settings.load(PagingSettings)
        logs.configure("paging", ours.log_level)
        tracing.start(ours, "paging")
        reach.check(ours)
        with wiring.build(ours) as parts:
            return worker.run(parts.loops, host=ours.bind_host, port=ours.paging_port, ready=parts.ready)
    except (Fatal, Retryable) as error:
        sys.stderr.write(f"paging: {error}\n")
        return worker.EXIT_FATAL


if __name__ == "__main__":
    sys.exit(main())
