"""Starts the windows of behaviour: `python -m evaluator_worker.behaviour`."""

from __future__ import annotations

import sys

from evaluator_worker.behaviour import wiring
from evaluator_worker.behaviour.settings import BehaviourSettings
from pactstream import logs, settings, tracing, worker
from pactstream.errors import Fatal
from pactstream.kafka import reach


def main() -> int:
    """Run until SIGTERM; 0 after a clean stop, 3 when it cannot go on."""
    try:
        ours = settings.load(BehaviourSettings)
        logs.configure("behaviour", ours.log_level)
        tracing.start(ours, "behaviour")
        reach.check(ours)
        processor = wiring.build(ours)
        return worker.run(
            [processor.run], host=ours.bind_host, port=ours.behaviour_port, ready=lambda: processor.ready
        )
    except Fatal as error:
        sys.stderr.write(f"behaviour: {error}\n")
        return worker.EXIT_FATAL


if __name__ == "__main__":
    sys.exit(main())
