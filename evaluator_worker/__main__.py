"""Starts the evaluator: `python -m evaluator_worker`."""

from __future__ import annotations

import sys

from evaluator_worker import wiring
from evaluator_worker.settings import EvaluatorSettings
from pactstream import logs, settings, tracing, worker
from pactstream.control.pacts import PactBook
from pactstream.errors import Fatal
from pactstream.kafka import reach


def main() -> int:
    """Run until SIGTERM; 0 after a clean stop, 3 when it cannot go on."""
    try:
        ours = settings.load(EvaluatorSettings)
        logs.configure("evaluator_worker", ours.log_level)
        tracing.start(ours, "evaluator_worker")
        reach.check(ours)
        pacts = PactBook(ours)
        parts = wiring.build(ours, pacts)
        code = worker.run(
            parts.loops, host=ours.bind_host, port=ours.evaluator_port, ready=lambda: parts.processor.ready
        )
        pacts.close()
    except Fatal as error:
        sys.stderr.write(f"evaluator_worker: {error}\n")
        return worker.EXIT_FATAL
    return code


if __name__ == "__main__":
    sys.exit(main())
