"""Starts the sealer: `python -m ledger_sealer`."""

from __future__ import annotations

import sys
from threading import Event
from typing import Protocol

from ledger_sealer import wiring
from ledger_sealer.projector import Projector
from ledger_sealer.settings import SealerSettings
from pactstream import logs, settings, tracing, worker
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import Fatal
from pactstream.kafka import reach


class Part(Protocol):
    """One of the sealer's loops."""

    @property
    def ready(self) -> bool:
        """Whether it is a member of its group."""

    def run(self, stop: Event) -> None:
        """Work until `stop` is set."""


def main() -> int:
    """Run until SIGTERM; 0 after a clean stop, 3 when it cannot go on."""
    try:
        ours = settings.load(SealerSettings)
        logs.configure("ledger_sealer", ours.log_level)
        tracing.start(ours, "ledger_sealer")
        reach.check(ours)
        key = ours.ledger_key()
        with ClickHouse(ours) as database:
            parts: list[Part] = [wiring.build(ours, key), Projector(ours, database)]
            if ours.tiles_dir is not None:
                parts.append(wiring.build_publisher(ours, key, database, ours.tiles_dir))
            return worker.run(
                [part.run for part in parts],
                host=ours.bind_host,
                port=ours.sealer_port,
                ready=lambda: all(part.ready for part in parts),
            )
    except Fatal as error:
        sys.stderr.write(f"ledger_sealer: {error}\n")
        return worker.EXIT_FATAL


if __name__ == "__main__":
    sys.exit(main())
