"""The aggregator's task without Kafka: what it counts, what it remembers, what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from pactstream import avro
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.records import Headers, Record
from score_aggregator.projector import newest
from score_aggregator.task import ScoreTask
from tests.score_tools import AGENT, BROKEN, KEPT, OTHER, UNBOUND, atlas, batch, call

DAY_MICROS = 86_400_000_000


class Written:
    """Collects what a task emits."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes, bytes | None, int | None]] = []

    def __call__(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: Headers = (),
    ) -> None:
        self.records.append((topic, key, value, partition))

    def scores(self) -> dict[str, dict[str, Any]]:
        """The last score written of each agent, without the time of computing."""
        scores = {key.decode(): avro.decode_as("Score", value) for _, key, value, _ in self.records}
        for score in scores.values():
            del score["computed_at_micros"]
        return scores


def run(task: ScoreTask, *records: Record) -> Written:
    written = Written()
    for record in records:
        task.process(record, written)
    task.flush(written)
    return written


def test_atlas_scores_ninety_six() -> None:
    task = ScoreTask(1)
    written = run(task, batch(1, atlas()[:20], received=5_000), batch(21, atlas()[20:], received=9_000))
    score = written.scores()[AGENT]
    assert score == {
        "agent_id": AGENT,
        "through_sequence": 40,
        "first_received_at_micros": 5_000,
        "last_received_at_micros": 9_000,
        "sessions": 5,
        "tool_calls": 25,
        "bound_calls": 25,
        "valid_calls": 24,
        "violations": {"critical": 1},
        "dimensions": {"pact_compliance": 0.96},
        "composite": 96.0,
        "confidence": pytest.approx(0.8117, abs=1e-4),
    }


def test_one_score_an_agent_and_transaction_in_the_sources_partition() -> None:
    task = ScoreTask(1)
    written = run(task, batch(1, [call(KEPT)]), batch(2, [call(KEPT)]), batch(1, [call(KEPT)], OTHER))
    assert [(topic, key, partition) for topic, key, _, partition in written.records] == [
        (topics.SCORES, OTHER.encode(), 1),
        (topics.SCORES, AGENT.encode(), 1),
    ]
    assert run(task).records == []


def test_what_is_not_judged_is_not_counted_for_compliance() -> None:
    written = run(ScoreTask(1), batch(1, [call(None), call(UNBOUND), {"type": "response"}]))
    score = written.scores()[AGENT]
    assert (score["tool_calls"], score["bound_calls"], score["composite"]) == (2, 0, None)
    assert (score["dimensions"], score["confidence"]) == ({}, None)


def test_the_same_record_twice_counts_once() -> None:
    task = ScoreTask(1)
    once = run(task, batch(1, atlas())).scores()
    assert run(task, batch(1, atlas())).records == []
    overlapping = run(task, batch(39, [*atlas()[38:], call(KEPT)])).scores()
    assert once[AGENT]["tool_calls"] == 25
    assert overlapping[AGENT]["tool_calls"] == 26
    assert overlapping[AGENT]["through_sequence"] == 41


def test_a_restored_task_goes_on_where_the_other_ended() -> None:
    day = atlas()
    unbroken = run(ScoreTask(1), batch(1, day[:17]), batch(18, day[17:])).scores()
    first = run(ScoreTask(1), batch(1, day[:17]))
    second = ScoreTask(1)
    for _, key, value, _ in first.records:
        second.restore(key, value)
    assert run(second, batch(1, day[:17]), batch(18, day[17:])).scores() == unbroken


def test_a_deleted_score_begins_anew() -> None:
    first = run(ScoreTask(1), batch(1, [call(KEPT)]))
    task = ScoreTask(1)
    task.restore(AGENT.encode(), first.records[0][2])
    task.restore(AGENT.encode(), None)
    assert run(task, batch(1, [call(BROKEN)])).scores()[AGENT]["tool_calls"] == 1


def test_arrival_never_goes_back() -> None:
    written = run(ScoreTask(1), batch(1, [call(KEPT)], received=9), batch(2, [call(KEPT)], received=7))
    score = written.scores()[AGENT]
    assert (score["first_received_at_micros"], score["last_received_at_micros"]) == (9, 9)


@pytest.mark.parametrize(
    "record",
    [
        Record(topics.EVALUATED, 1, 0, AGENT.encode(), b"\x00nonsense"),
        Record(topics.EVALUATED, 1, 0, AGENT.encode(), None),
        Record(topics.EVALUATED, 1, 0, OTHER.encode(), batch(1, [call(KEPT)]).value),
        batch(1, [call(KEPT), {"type": 7}]),
        batch(1, [call({"valid": "yes", "bound": True})]),
    ],
)
def test_what_is_refused_changes_nothing(record: Record) -> None:
    task, written = ScoreTask(1), Written()
    with pytest.raises(InvalidInput):
        task.process(record, written)
    task.flush(written)
    assert written.records == []


def test_of_each_agent_and_day_the_projector_keeps_the_last() -> None:
    scores = [
        {"agent_id": agent, "last_received_at_micros": day * DAY_MICROS + at, "through_sequence": n}
        for n, (agent, day, at) in enumerate([(AGENT, 1, 5), (OTHER, 1, 6), (AGENT, 1, 9), (AGENT, 2, 0)])
    ]
    assert [one["through_sequence"] for one in newest(scores)] == [2, 1, 3]
