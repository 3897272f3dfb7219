"""Lag from librdkafka's statistics."""

from __future__ import annotations

import json
from typing import Any

from prometheus_client import REGISTRY

from pactstream.kafka.lag import ConsumerLag


def document(*partitions: tuple[int, str, int, int, int, int]) -> str:
    """Of each: number, state, records fetched and not taken, offsets read on from, fetched to, of the end."""
    names = ("partition", "fetch_state", "fetchq_cnt", "app_offset", "next_offset", "ls_offset")
    told: dict[str, dict[str, Any]] = {
        str(values[0]): {**dict(zip(names, values, strict=True)), "consumer_lag": -1} for values in partitions
    }
    return json.dumps({"name": "rdkafka#consumer-1", "topics": {"t.telemetry": {"partitions": told}}})


def shown(partition: int) -> float | None:
    labels = {"group": "g", "topic": "telemetry", "partition": str(partition)}
    return REGISTRY.get_sample_value("pactstream_consumer_lag_records", labels)


def test_partitions_held_are_shown_and_others_not() -> None:
    # -1 is librdkafka's own partition for records without one, -1001 an offset that is not known.
    take = ConsumerLag("g", "t.")
    take(
        document(
            (0, "active", 9, 88, 97, 100),
            (1, "active", 0, -1001, 50, -1001),
            (2, "none", 0, 10, 10, 20),
            (-1, "none", 0, -1001, -1001, -1001),
        )
    )
    assert [shown(0), shown(1), shown(2), shown(-1)] == [12, None, None, None]
    take(document((0, "active", 0, 95, 95, 100), (1, "active", 0, -1001, 100, 1000)))
    assert [shown(0), shown(1)] == [5, 900]


def test_markers_of_transactions_are_no_lag() -> None:
    ConsumerLag("g", "t.")(document((0, "active", 0, 97, 99, 99), (1, "active", 1, 97, 99, 99)))
    assert [shown(0), shown(1)] == [0, 2]


def test_what_went_to_another_member_is_taken_down() -> None:
    ConsumerLag("g", "t.")(document((0, "active", 0, 95, 95, 100), (1, "active", 0, 0, 0, 900)))
    ConsumerLag("g", "t.")(document((0, "stopped", 0, 95, 95, 100), (1, "active", 0, 900, 900, 900)))
    assert [shown(0), shown(1)] == [None, 0]
