"""The job on Quix Streams, exactly once.

    python -m tests.bench.worker_quix BOOTSTRAP PREFIX GROUP MODE BATCH DIRECTORY

MODE is `plain` or `leaves` (both without state) or `state`. Runs in the environment of the peers (see the
Makefile) until it is killed.
"""

from __future__ import annotations

import sys

from quixstreams import Application, State

from tests.bench.worker_job import job, stateful_job


class Kept:
    """The state of the record's key, in RocksDB and a changelog."""

    def __init__(self, state: State) -> None:
        self.get = state.get_bytes
        self.put = state.set_bytes


def main() -> None:
    """Run until killed."""
    bootstrap, prefix, group, mode, batch, directory = sys.argv[1:]
    app = Application(
        broker_address=bootstrap,
        consumer_group=prefix + group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        auto_create_topics=mode == "state",
        use_changelog_topics=mode == "state",
        consumer_extra_config={"isolation.level": "read_committed", "fetch.wait.max.ms": 100},
        producer_extra_config={
            "compression.type": "zstd",
            "compression.level": 1,
            "linger.ms": 2,
            "retry.backoff.ms": 1,
        },
        # A transaction of 2,000 events, as the others.
        commit_every=2_000 // int(batch),
        commit_interval=0.5,
        state_dir=directory,
        loglevel="WARNING",
    )
    source = app.topic(prefix + "telemetry.batches", key_deserializer="bytes", value_deserializer="bytes")
    sink = app.topic(prefix + "telemetry.evaluated", key_serializer="bytes", value_serializer="bytes")
    frame = app.dataframe(source)
    if mode == "state":
        stateful = stateful_job()
        frame = frame.apply(lambda value, state: stateful(value, Kept(state)), stateful=True)
    else:
        frame = frame.apply(job(leaves=mode == "leaves"))
    frame.to_topic(sink)
    app.run()


if __name__ == "__main__":
    main()
