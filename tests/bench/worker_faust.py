"""The job on faust-streaming, exactly once.

    python -m tests.bench.worker_faust BOOTSTRAP PREFIX GROUP MODE BATCH DIRECTORY

MODE is `plain` or `leaves`. Runs in the environment of the peers (see the Makefile) until it is killed.
"""

from __future__ import annotations

import sys

import faust

from tests.bench.worker_job import job


def main() -> None:
    """Run until killed."""
    bootstrap, prefix, group, mode, _, directory = sys.argv[1:]
    app = faust.App(
        prefix + group,
        broker=f"kafka://{bootstrap}",
        processing_guarantee="exactly_once",
        consumer_auto_offset_reset="earliest",
        topic_allow_declare=False,
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

    @app.agent(source)
    async def judge(stream):  # type: ignore[no-untyped-def]
        async for event in stream.events():
            await sink.send(key=event.key, value=run(event.value))

    faust.Worker(app, loglevel="WARNING").execute_from_commandline()


if __name__ == "__main__":
    main()
