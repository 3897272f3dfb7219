"""The aggregator's task without Kafka: what it counts, what it remembers, what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from pactstream import avro, clock
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.records import Headers, Record
from pactstream.scores.dimensions import WINDOW_DAYS
from pactstream.scores.tally import DAY_MICROS
from score_aggregator.projector import newest
from score_aggregator.task import ScoreTask
from tests.score_tools import AGENT, BROKEN, KEPT, NOON, OTHER, TODAY, UNBOUND, atlas, attests, batch, call


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

    def of(self, topic: str) -> list[tuple[bytes, bytes | None]]:
        return [(key, value) for name, key, value, _ in self.records if name == topic]

    def scores(self) -> dict[str, dict[str, Any]]:
        """The last score written of each agent, without what depends on the time of computing."""
        found = {key.decode(): avro.decode_as("Score", value) for key, value in self.of(topics.SCORES)}
        for score in found.values():
            del score["computed_at_micros"]
        return found


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_micros", lambda: NOON)


def restored(written: Written) -> ScoreTask:
    """A task that has read what another one wrote to the changelog."""
    task = ScoreTask(1)
    for key, value in written.of(topics.AGGREGATOR_STATE):
        task.restore(key, value)
    return task


def run(task: ScoreTask, *records: Record) -> Written:
    written = Written()
    for record in records:
        task.process(record, written)
    task.flush(written)
    return written


def test_atlas_is_counted_in_full() -> None:
    task = ScoreTask(1)
    records = batch(1, atlas()[:20], received=NOON - 9), batch(21, atlas()[20:], received=NOON)
    score = run(task, *records).scores()[AGENT]
    assert {name: score[name] for name in score if name in ("through_sequence", "sessions", "tool_calls")} == {
        "through_sequence": 40,
        "sessions": 5,
        "tool_calls": 25,
    }
    assert (score["first_received_at_micros"], score["last_received_at_micros"]) == (NOON - 9, NOON)
    assert (score["bound_calls"], score["valid_calls"], score["violations"]) == (25, 24, {"critical": 1})
    assert 0 < score["composite"] < 60  # one hour's work is little evidence
    assert (score["tier"], score["covered_weight"], score["method"]) == (None, 43, 1)


def test_one_score_an_agent_and_transaction_in_the_sources_partition() -> None:
    task = ScoreTask(1)
    first, second = (batch(n, [call(KEPT)], received=NOON) for n in (1, 2))
    written = run(task, first, second, batch(1, [call(KEPT)], OTHER, received=NOON))
    assert [key for key, _ in written.of(topics.SCORES)] == [OTHER.encode(), AGENT.encode()]
    assert {partition for *_, partition in written.records} == {1}
    assert len(written.of(topics.AGGREGATOR_STATE)) == 4  # totals and one day of each
    assert run(task).records == []


def test_what_is_not_judged_is_not_counted_for_compliance() -> None:
    written = run(ScoreTask(1), batch(1, [call(None), call(UNBOUND), {"type": "response"}]))
    score = written.scores()[AGENT]
    assert (score["tool_calls"], score["bound_calls"], score["composite"]) == (2, 0, None)
    assert (score["confidence"], score["points"], score["tier"]) == (None, None, None)


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
    unbroken = run(ScoreTask(1), batch(1, day[:17], received=NOON), batch(18, day[17:], received=NOON)).scores()
    first = run(ScoreTask(1), batch(1, day[:17], received=NOON))
    second = restored(first)
    again = run(second, batch(1, day[:17], received=NOON), batch(18, day[17:], received=NOON))
    assert again.scores() == unbroken


def test_packed_days_are_the_same_days() -> None:
    day = [
        *atlas(),
        call(KEPT, latencyMs=12.5, confidence=90, objectives={"latencyP95Ms": 10, "model": "allowed"}),
        {"type": "response", "outcome": "success", "sessionId": "é", "tokenCount": 2**40}
        | {"objectives": {"tokensPerSession": 100, "model": "other"}},
        attests("bond", amount="1", currency="USDC", coverage=0.5),
        attests("security", n=2, critical=1, high=0, medium=0, low=0, scope="s"),
        attests("revocation", n=3, revokes="00000000-0000-4000-8000-000000000002"),
    ]
    task = ScoreTask(1)
    run(task, batch(1, day, received=NOON - DAY_MICROS), batch(len(day) + 1, [call(KEPT)], received=NOON))
    more = batch(len(day) + 2, [call(BROKEN)], received=NOON)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("score_aggregator.task.OPEN_AGENTS", 0)
        first = ScoreTask(1)
        written = run(first, batch(1, day, received=NOON - DAY_MICROS))
        run(first, batch(len(day) + 1, [call(KEPT)], received=NOON))
        packed = run(first, more).scores()
    assert packed == run(task, more).scores()
    assert packed[AGENT]["attestations"][0]["claim"].startswith('{"kind":"bond"')
    assert [one["kind"] for one in packed[AGENT]["attestations"]] == ["bond"]
    then = run(restored(written), batch(len(day) + 1, [call(KEPT)], received=NOON), more)
    assert then.scores() == packed


def test_days_leave_the_changelog_with_the_window() -> None:
    old = (TODAY - WINDOW_DAYS - 1) * DAY_MICROS
    task = ScoreTask(1)
    written = run(task, batch(1, [call(KEPT)], received=old), batch(2, [call(KEPT)], received=NOON))
    assert written.of(topics.AGGREGATOR_STATE)[-1] == (f"{AGENT}/{old // DAY_MICROS}/p".encode(), None)
    again = restored(written)
    assert run(again, batch(3, [call(KEPT)], received=NOON)).scores()[AGENT]["tool_calls"] == 3


def test_a_deleted_agent_begins_anew() -> None:
    task = restored(run(ScoreTask(1), batch(1, [call(KEPT)])))
    task.restore(AGENT.encode(), None)
    assert run(task, batch(1, [call(BROKEN)])).scores()[AGENT]["tool_calls"] == 1


def test_a_later_score_is_computed_later_whatever_the_clock_says() -> None:
    task = ScoreTask(1)
    written = run(task, batch(1, [call(KEPT)]))
    again = run(restored(written), batch(2, [call(KEPT)]))
    times = [avro.decode_as("Score", value)["computed_at_micros"] for _, value in written.of(topics.SCORES)]
    (later,) = [avro.decode_as("Score", value)["computed_at_micros"] for _, value in again.of(topics.SCORES)]
    assert later > max(times)


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
        {"agent_id": agent, "computed_at_micros": day * DAY_MICROS + at, "through_sequence": n}
        for n, (agent, day, at) in enumerate([(AGENT, 1, 5), (OTHER, 1, 6), (AGENT, 1, 9), (AGENT, 2, 0)])
    ]
    assert [one["through_sequence"] for one in newest(scores)] == [2, 1, 3]
