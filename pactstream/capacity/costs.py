"""What an event, an agent and a segment cost: every figure of `pactstream plan`, with its source.

The events are tool calls with seven private values each under a pact of seven rules, 25 in a request, of agents
with one tenant that are busy once a minute: heavier than most. CPU time is that of one core of the machine that
docs/benchmarks.md describes, when nothing else runs there. `RUN` was taken under load: its figures are scaled
by `QUIET`, the evaluator's figure there to its figure in that run.
"""

from __future__ import annotations

from typing import Final, NamedTuple

RUN: Final = "bench_costs 20000, 26 November 2026"
QUIET: Final = 41.0 / 70.48


class Cost(NamedTuple):
    """A figure and where it was measured."""

    value: float
    source: str


# Microseconds of CPU an event, all threads of the process.
CPU_MICROS: Final = {
    "gateway": Cost(1e6 / 34_800, "bench_gateway, quiet: 34,800 a CPU-second"),
    "evaluator": Cost(41.0, "bench_worker, quiet, batches of 25: 24,400 a CPU-second"),
    "sealer": Cost(1e6 / 29_100, "bench_sealer, quiet: seal, project, publish a million, 29,100 a CPU-second"),
    "aggregator": Cost(28.49 * QUIET, RUN),
    "behaviour": Cost(19.49 * QUIET, RUN),
    "paging": Cost(16.46 * QUIET, RUN),
    "anomaly": Cost(38.46 * QUIET, RUN + ": 560 µs for a window of 25 events"),
}
BROKER_MICROS: Final = Cost(130.53 * QUIET, RUN + ": one copy; what followers take was not measured")
CLICKHOUSE_MICROS: Final = Cost(81.99 * QUIET, RUN + ": inserts and merges, no queries")
BY_PARTITION: Final = ("evaluator", "sealer", "aggregator", "behaviour", "paging", "anomaly")
"""Each works on whole partitions, one at a time."""
FIXED: Final = {"oracle": 2, "console": 2, "push": 2}
"""What events do not decide: two of each, so that one may fail."""

# Bytes an event in Kafka, one copy, compressed (zstd 1; windows gzip), on disk.
TOPIC_BYTES: Final = {
    "telemetry.batches": Cost(73.4, RUN),
    "telemetry.evaluated": Cost(499.7, RUN),
    "behaviour.windows": Cost(4.6, RUN),
}
TOPIC_DAYS: Final = {"telemetry.batches": 7, "telemetry.evaluated": 30, "behaviour.windows": 30}
READERS: Final = {"telemetry.batches": 1, "telemetry.evaluated": 6, "behaviour.windows": 1}
"""How many groups read a topic: of `telemetry.evaluated` sealer, projector, publisher and three more."""

# Compacted topics: bytes that stay of an agent, not compressed; and bytes written an event, compressed.
ID_BYTES: Final = Cost(16.9, RUN + ": an event id that the evaluator remembers")
STATE_BYTES: Final = {
    "evaluator.state": Cost(75, RUN + ": without ids, and without windows of pacts"),
    "aggregator.state": Cost(76 + 168 * 90, RUN + ": 76, and 168 for each of 90 days"),
    "behaviour.state": Cost(1_071 * 12, RUN + ": 1,071 for each of twelve minutes"),
    "paging.state": Cost(4_061, RUN + ": the latest ten calls; open pages come to it"),
    "anomaly.state": Cost(2_787, RUN + ": one tenant"),
    "trust.scores": Cost(743, RUN),
}
STATE_WRITTEN: Final = {
    "evaluator.state": Cost(32.7, RUN),
    "aggregator.state": Cost(2.5, RUN),
    "behaviour.state": Cost(8.3, RUN),
    "paging.state": Cost(22.2, RUN),
    "anomaly.state": Cost(21.9, RUN),
    "trust.scores": Cost(2.3, RUN),
}
REMEMBERED_IDS: Final = 10_000
"""`PACTSTREAM_EVALUATOR_DEDUP_EVENTS`: of one agent, within 24 hours."""

# Segments: `PACTSTREAM_SEGMENT_INTERVAL_SECONDS` and `_SEGMENT_MAX_LEAVES`.
SEGMENT_SECONDS: Final = 0.25
SEGMENT_LEAVES: Final = 4_096
SEGMENT_BYTES: Final = Cost(693, RUN + ": a record of ledger.checkpoints")
SEGMENT_ROW_BYTES: Final = Cost(669, RUN + ": a row of ledger_segments")

# Bytes in ClickHouse, compressed, indexes and projections included, after merging; and in published files.
TABLE_BYTES: Final = {
    "room_events": Cost(426.1, RUN),
    "room_event_payloads": Cost(162.9, RUN + ": 23.3 for each of seven values"),
}
SCORE_ROW_BYTES: Final = Cost(165, RUN + ": a row of scores; an agent has two a day")
TILE_BYTES: Final = Cost(1_315, RUN + ": entries and hash tiles, not compressed")

REQUEST_BYTES: Final = Cost(524, "bench_gateway: 13.1 kB of JSON for 25 events")

# Memory, megabytes of a process with few agents; a gateway keeps all agents, workers those they hold.
BASE_MB: Final = 110
PROCESS_MB: Final = {
    "gateway": Cost(BASE_MB, "as the workers; not measured"),
    "evaluator": Cost(102, RUN),
    "sealer": Cost(484, "bench_sealer, quiet, a million leaves"),
    "aggregator": Cost(86, RUN),
    "behaviour": Cost(96, RUN),
    "paging": Cost(108, RUN),
    "anomaly": Cost(108, RUN),
}
HOT_MB: Final = 64
"""`PACTSTREAM_EVALUATOR_HOT_MB`, of each partition."""
REGISTERED_BYTES: Final = 615
"""Of a registered agent in a gateway (tracemalloc, 50,000 agents of one tenant)."""
MEMORY_FACTOR: Final = 2.0
"""Python's objects to the bytes they stand for: assumed."""

# What is planned beyond the average, and what machines are assumed.
CPU_HEADROOM: Final = 2.0
DISK_HEADROOM: Final = 1.5
KAFKA_COPIES: Final = 3
CLICKHOUSE_COPIES: Final = 2
BROKER_CORES: Final = 8
BROKER_DISK: Final = 8e12
BROKER_NETWORK: Final = 1e9
"""Bytes a second, in and out."""
CLICKHOUSE_CORES: Final = 16
CLICKHOUSE_DISK: Final = 30e12
