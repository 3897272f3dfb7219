"""The job on faust-streaming, exactly once.

    python -m tests.bench.worker_faust BOOTSTRAP PREFIX GROUP MODE BATCH DIRECTORY

MODE is `plain` or `leaves` (both without state) or `state`. Runs in the environment of the peers (see the
Makefile) until it is killed.
"""

from __future__ import annotations

import sys
from typing import Any

import faust

from tests.bench.worker_job import job, stateful_job


class Kept:
    """The part of a table, kept in memory and in a changelog, that is the agent's."""

    def __init__(self, table: Any, key: bytes) -> None:
        self._table = table
        self._key = key

    def get(self, name: str) -> bytes | None:
        found: bytes | None = self._table.get(self._key + name.encode())
        return found

    def put(self, name: str, value: bytes) -> None:
        self._table[self._key + name.encode()] = value


def main() -> None:
    """Run until killed."""
    bootstrap, prefix, group, mode, _, directory = sys.argv[1:]
    app = faust.App(
        prefix + group,
        broker=f"kafka://{bootstrap}",
        processing_guarantee="exactly_once",
        consumer_auto_offset_reset="earliest",
        topic_allow_declare=mode == "state",
        topic_disable_leader=True,
        broker_commit_interval=0.5,
        datadir=directory,
        web_enabled=False,
        value_serializer="raw",
        key_serializer="raw",
    )
    source = app.topic(prefix + "telemetry.batches", key_type=bytes, value_type=bytes)
    sink = app.topic(prefix + "telemetry.evaluated", key_type=bytes, value_type=bytes)
    run = job(leaves=mode == "leaves")
    stateful = stateful_job()
    table = app.Table("kept", key_type=bytes, value_type=bytes, partitions=1) if mode == "state" else None

    @app.agent(source)
    async def judge(stream):  # type: ignore[no-untyped-def]
        async for event in stream.events():
            made = run(event.value) if table is None else stateful(event.value, Kept(table, event.key))
            await sink.send(key=event.key, value=made)

    faust.Worker(app, loglevel="WARNING").execute_from_commandline()


if __name__ == "__main__":
    main()
