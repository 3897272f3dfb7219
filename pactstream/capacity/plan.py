"""From events a second, agents and days to partitions, processes, machines and disks. Pure arithmetic.

Everything grows, or stays, when events, agents or days do. Rounding is upwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from pactstream.capacity import costs

DAY_SECONDS: Final = 86_400
GIB: Final = 1 << 30
MIN_PARTITIONS: Final = 12
MIN_PROCESSES: Final = 2
MIN_BROKERS: Final = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: events a second over a whole day, agents, and days of history in the ledger."""

    events_per_second: float
    agents: int
    retention_days: int


@dataclass(frozen=True, slots=True)
class Process:
    """One kind of process: how many, the cores that they use together on average, memory of each."""

    kind: str
    count: int
    cores_used: float
    memory_mb: int


@dataclass(frozen=True, slots=True)
class Disk:
    """What lies on the disks of one store under one name, all copies and free space included."""

    store: str
    name: str
    kept_days: int | None
    bytes: int


@dataclass(frozen=True, slots=True)
class Machines:
    """One kind of machine, of the size in `costs`: how many, and what decides that."""

    kind: str
    count: int
    cores_used: float
    because: str


@dataclass(frozen=True, slots=True)
class Flow:
    """Bytes a second between two places, on average."""

    name: str
    bytes_per_second: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer. `state_bytes`: what evaluators remember, together, in memory or on their disks."""

    wanted: Wanted
    partitions: int
    processes: tuple[Process, ...]
    machines: tuple[Machines, ...]
    disks: tuple[Disk, ...]
    flows: tuple[Flow, ...]
    state_bytes: int
    segments_per_second: float

    def disk_bytes(self, store: str) -> int:
        """All that lies in one store."""
        return sum(one.bytes for one in self.disks if one.store == store)


def plan(wanted: Wanted) -> Plan:
    """What it takes."""
    rate = wanted.events_per_second
    counts = {kind: _processes(rate * cost.value) for kind, cost in costs.CPU_MICROS.items()}
    # Twice the busiest workers, so that each holds two at least and there is room for more of them.
    partitions = max(MIN_PARTITIONS, 2 * max(counts[kind] for kind in costs.BY_PARTITION))
    segments = _segments_per_second(rate, partitions)
    state = _evaluator_state(wanted)
    memory = _memory(wanted, counts, partitions, state)
    processes = [
        Process(kind, count, rate * costs.CPU_MICROS[kind].value / 1e6, ceil(memory[kind]))
        for kind, count in counts.items()
    ]
    processes += [Process(kind, count, 0.0, costs.BASE_MB) for kind, count in costs.FIXED.items()]
    disks = (*_kafka(wanted, partitions, segments, state), *_clickhouse(wanted, segments), *_files(wanted))
    flows = _flows(wanted, segments)
    return Plan(
        wanted,
        partitions,
        tuple(processes),
        _machines(wanted, disks, flows),
        disks,
        flows,
        ceil(state),
        segments,
    )


def _processes(micros_per_second: float) -> int:
    """Processes of one core each, none busier on average than the headroom leaves."""
    return max(MIN_PROCESSES, ceil(micros_per_second * costs.CPU_HEADROOM / 1e6))


def _segments_per_second(rate: float, partitions: int) -> float:
    """A segment closes at its largest, or some time after its first leaf; each has a leaf at least."""
    by_time = partitions / costs.SEGMENT_SECONDS
    return min(rate, by_time + rate / costs.SEGMENT_LEAVES)


def _evaluator_state(wanted: Wanted) -> float:
    """Event ids of a day, or as many as are remembered of an agent, and its chain."""
    ids = min(costs.REMEMBERED_IDS * wanted.agents, wanted.events_per_second * DAY_SECONDS)
    return wanted.agents * costs.STATE_BYTES["evaluator.state"].value + ids * costs.ID_BYTES.value


def _memory(wanted: Wanted, counts: dict[str, int], partitions: int, state: float) -> dict[str, float]:
    """Megabytes of one process of each kind, were all its agents' state in memory."""
    held = {
        "evaluator": state * costs.MEMORY_FACTOR + partitions * costs.HOT_MB * 1e6,
        "aggregator": wanted.agents * costs.STATE_BYTES["aggregator.state"].value * costs.MEMORY_FACTOR,
        "behaviour": wanted.agents * costs.STATE_BYTES["behaviour.state"].value * costs.MEMORY_FACTOR,
        "paging": wanted.agents * costs.STATE_BYTES["paging.state"].value * costs.MEMORY_FACTOR,
        "anomaly": wanted.agents * costs.STATE_BYTES["anomaly.state"].value * costs.MEMORY_FACTOR,
        "gateway": wanted.agents * costs.REGISTERED_BYTES * float(counts["gateway"]),
    }
    return {
        kind: costs.PROCESS_MB[kind].value + held.get(kind, 0.0) / 1e6 / count for kind, count in counts.items()
    }


def _kafka(wanted: Wanted, partitions: int, segments: float, state: float) -> list[Disk]:
    found = []
    copies = costs.KAFKA_COPIES * costs.DISK_HEADROOM
    for topic, cost in costs.TOPIC_BYTES.items():
        per_second = wanted.events_per_second * cost.value
        days = costs.TOPIC_DAYS[topic]
        found.append(Disk("kafka", topic, days, ceil(per_second * DAY_SECONDS * days * copies)))
    checkpoints = segments * costs.SEGMENT_BYTES.value * DAY_SECONDS * wanted.retention_days
    found.append(Disk("kafka", "ledger.checkpoints", None, ceil(checkpoints * copies)))
    for topic, cost in costs.STATE_BYTES.items():
        live = state if topic == "evaluator.state" else wanted.agents * cost.value
        # Half of a compacted topic may wait for the cleaner, which leaves a partition's last segment alone: a
        # day, or a GiB, whichever ends it first.
        written = wanted.events_per_second * costs.STATE_WRITTEN[topic].value * DAY_SECONDS
        size = 2 * live + min(partitions * GIB, written)
        found.append(Disk("kafka", topic, None, ceil(size * copies)))
    return found


def _clickhouse(wanted: Wanted, segments: float) -> list[Disk]:
    seconds = DAY_SECONDS * wanted.retention_days
    copies = costs.CLICKHOUSE_COPIES * costs.DISK_HEADROOM
    sizes = {
        table: wanted.events_per_second * seconds * cost.value for table, cost in costs.TABLE_BYTES.items()
    }
    sizes["ledger_segments"] = segments * seconds * costs.SEGMENT_ROW_BYTES.value
    sizes["scores"] = 2 * wanted.agents * wanted.retention_days * costs.SCORE_ROW_BYTES.value
    return [
        Disk("clickhouse", name, wanted.retention_days, ceil(size * copies)) for name, size in sizes.items()
    ]


def _files(wanted: Wanted) -> list[Disk]:
    size = wanted.events_per_second * DAY_SECONDS * wanted.retention_days * costs.TILE_BYTES.value
    return [Disk("files", "published ledger", wanted.retention_days, ceil(size * costs.DISK_HEADROOM))]


def _flows(wanted: Wanted, segments: float) -> tuple[Flow, ...]:
    rate = wanted.events_per_second
    written = rate * sum(one.value for one in (*costs.TOPIC_BYTES.values(), *costs.STATE_WRITTEN.values()))
    written += segments * costs.SEGMENT_BYTES.value
    read = rate * sum(costs.TOPIC_BYTES[topic].value * times for topic, times in costs.READERS.items())
    sizes = {
        "agents to gateways, JSON": rate * costs.REQUEST_BYTES.value,
        "into Kafka": written,
        "between brokers": written * (costs.KAFKA_COPIES - 1),
        "out of Kafka": read,
    }
    return tuple(Flow(name, ceil(size)) for name, size in sizes.items())


def _machines(wanted: Wanted, disks: tuple[Disk, ...], flows: tuple[Flow, ...]) -> tuple[Machines, ...]:
    size = {store: sum(one.bytes for one in disks if one.store == store) for store in ("kafka", "clickhouse")}
    moved = sum(one.bytes_per_second for one in flows if "Kafka" in one.name or "brokers" in one.name)
    rate = wanted.events_per_second
    brokers = {
        "copies": MIN_BROKERS,
        "disk": ceil(size["kafka"] / costs.BROKER_DISK),
        "network": ceil(moved * costs.CPU_HEADROOM / costs.BROKER_NETWORK),
        "CPU": ceil(rate * costs.BROKER_MICROS.value * costs.CPU_HEADROOM / 1e6 / costs.BROKER_CORES),
    }
    # A copy of all data in each set of shards.
    shards = {
        "one is enough": 1,
        "disk": ceil(size["clickhouse"] / costs.CLICKHOUSE_COPIES / costs.CLICKHOUSE_DISK),
        "CPU": ceil(rate * costs.CLICKHOUSE_MICROS.value * costs.CPU_HEADROOM / 1e6 / costs.CLICKHOUSE_CORES),
    }
    kafka, tables = max(brokers, key=brokers.__getitem__), max(shards, key=shards.__getitem__)
    return (
        Machines("Kafka broker", brokers[kafka], rate * costs.BROKER_MICROS.value / 1e6, kafka),
        Machines(
            "ClickHouse server",
            shards[tables] * costs.CLICKHOUSE_COPIES,
            rate * costs.CLICKHOUSE_MICROS.value / 1e6,
            f"{shards[tables]} × {costs.CLICKHOUSE_COPIES} copies: {tables}",
        ),
    )
