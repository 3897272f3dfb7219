"""Starts the sealer: `python -m ledger_sealer`."""

from __future__ import annotations

import sys

from ledger_sealer import wiring
from ledger_sealer.projector import Projector
from ledger_sealer.settings import SealerSettings
from pactstream import logs, settings, worker
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import Fatal


def main() -> int:
    """Run until SIGTERM; 0 after a clean stop, 3 when it cannot go on."""
    try:
        ours = settings.load(SealerSettings)
        logs.configure("ledger_sealer", ours.log_level)
        sealer = wiring.build(ours, ours.ledger_key())
        with ClickHouse(ours) as database:
            projector = Projector(ours, database)
            return worker.run(
                [sealer.run, projector.run],
                host=ours.bind_host,
                port=ours.sealer_port,
                ready=lambda: sealer.ready and projector.ready,
            )
    except Fatal as error:
        sys.stderr.write(f"ledger_sealer: {error}\n")
        return worker.EXIT_FATAL


if __name__ == "__main__":
    sys.exit(main())
