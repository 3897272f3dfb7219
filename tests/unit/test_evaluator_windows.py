"""Windows and sequences in the evaluator: written once, restored exactly; what a crossing adds."""

from __future__ import annotations

import dataclasses
import itertools
import uuid
from typing import Any

import pytest

from evaluator_worker.agents import Memory
from evaluator_worker.task import EvaluatorTask
from pactstream import avro
from pactstream.errors import Fatal
from pactstream.ledger import merkle
from pactstream.ledger.leaf import GENESIS, AgentHead, Leaf, agent_link, parse_leaf
from tests.evaluator_tools import AGENT, HOUR, PACT, Pacts, Written, call, record, task
from tests.pact_calls import document, escalate, sequence, window

BUDGET = window("critical", tools=["transfer_funds"], limit=100, per="session")
ORDER = sequence("minor", requires={"tool": "transfer_funds", "after": "verify"})
NOW = 1_700_000_000_000_000


def started(*documents: dict[str, Any], memory: Memory | None = None) -> EvaluatorTask:
    return task(memory, Pacts(*documents) if documents else Pacts(document(BUDGET)))


def rules(leaf: Leaf) -> list[str]:
    assert leaf.verdict is not None
    return [violation.rule for violation in leaf.verdict.violations]


def restored(written: Written, *documents: dict[str, Any]) -> EvaluatorTask:
    """A task with the changelog as compaction leaves it: the last record of each key, in its place."""
    latest = {key: at for at, (key, _) in enumerate(written.of("evaluator.state"))}
    again = started(*documents)
    for at, (key, value) in enumerate(written.of("evaluator.state")):
        if latest[key] == at:
            again.restore(key, value)
    return again


def test_a_crossing_stands_in_the_ledger_right_after_its_call() -> None:
    written, one = Written(), started()
    calls = [call(amount) for amount in (60, 40, 1, 5)]
    one.process(record(*calls, received=NOW), written)
    leaves = written.leaves()
    assert [leaf.type for leaf in leaves] == ["tool_call"] * 3 + ["tool_call.violation", "tool_call"]
    assert [leaf.sequence for leaf in leaves] == [1, 2, 3, 4, 5]
    assert [rules(leaf) for leaf in leaves] == [[], [], ["window"], ["window"], ["window"]]
    crossing = leaves[3]
    assert crossing.parent_event_id == calls[2]["event_id"]
    assert crossing.contributing is not None
    assert crossing.contributing.calls == 3
    assert crossing.contributing.event_ids == tuple(one["event_id"] for one in calls[:3])
    assert (crossing.session_id, crossing.tool, crossing.source) == ("s-1", "transfer_funds", leaves[2].source)
    assert (crossing.outcome, crossing.latency_ms) == (None, None)
    assert crossing.pact == leaves[2].pact
    assert crossing.verdict is not None
    assert (crossing.verdict.valid, crossing.verdict.bound, crossing.verdict.severity) == (
        False,
        True,
        "critical",
    )
    assert set(crossing.commitments) == {"violations.0.value"}


def test_the_chain_goes_through_what_is_added() -> None:
    written, one = Written(), started()
    one.process(record(*(call(60) for _ in range(3)), received=NOW), written)
    one.process(record(call(1), received=NOW, offset=1), written)
    head = GENESIS
    for raw in raw_leaves(written):
        leaf = parse_leaf(raw)
        assert agent_link(leaf, head) is None
        head = AgentHead(leaf.sequence, merkle.leaf_hash(raw))
    assert head.sequence == 5


def raw_leaves(written: Written) -> list[bytes]:
    batches = [avro.decode_as("EvaluatedBatch", value) for _, value in written.of("telemetry.evaluated")]
    return [event["leaf"] for batch in batches for event in batch["events"]]


def test_an_added_event_has_the_same_id_whoever_judges_it_and_each_condition_its_own() -> None:
    twice = document(BUDGET, window("minor", tools=["transfer_funds"], limit=50))
    events = [call(60), call(60)]
    found = []
    for batches in ([events], [[one] for one in events]):
        written, one = Written(), started(twice)
        for offset, batch in enumerate(batches):
            one.process(record(*batch, received=NOW, offset=offset), written)
        found.append([leaf.event_id for leaf in written.leaves() if leaf.type == "tool_call.violation"])
    assert found[0] == found[1]
    assert len(set(found[0])) == 2
    assert all(uuid.UUID(one).version == 8 for one in found[0])


def test_a_repeated_call_counts_once() -> None:
    written, one = Written(), started()
    event = call(60)
    for offset in range(3):
        one.process(record(event, event, received=NOW, offset=offset), written)
    one.process(record(call(40), received=NOW, offset=3), written)
    assert [rules(leaf) for leaf in written.leaves()] == [[], []]


def test_a_call_that_has_no_leaf_is_not_counted() -> None:
    written, one = Written(), started()
    one.process(record(call(60), call(60, latency_ms=-1.0), call(40), received=NOW), written)
    assert [rules(leaf) for leaf in written.leaves()] == [[], []]
    assert len(written.of("telemetry.batches.dlq")) == 1


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_restored_task_judges_as_the_old_one_would(cut: int) -> None:
    pact = document(BUDGET, ORDER, escalate(**{"from": "minor", "times": 3, "within": 60}))
    events = [
        call(tool="verify", session_id="a"),
        call(60, session_id="a"),
        call(60, session_id="b"),
        call(60, session_id="b", outcome="error"),
        call(40, session_id="a"),
        call(1, session_id="a"),
        call(1, session_id="b"),
        call(1, session_id="c"),
    ]
    whole, undisturbed = Written(), started(pact)
    for offset, event in enumerate(events):
        undisturbed.process(record(event, received=NOW + offset, offset=offset), whole)
    undisturbed.flush(whole)

    before, first = Written(), started(pact)
    for offset, event in enumerate(events[:cut]):
        first.process(record(event, received=NOW + offset, offset=offset), before)
    first.flush(before)
    after, second = Written(), restored(before, pact)
    for offset, event in enumerate(events[cut:], start=cut):
        second.process(record(event, received=NOW + offset, offset=offset), after)
    second.flush(after)

    def verdicts(*parts: Written) -> list[Any]:
        return [(leaf.event_id, leaf.verdict) for part in parts for leaf in part.leaves()]

    def conditions(*parts: Written) -> dict[bytes, bytes | None]:
        records = itertools.chain(*(part.of("evaluator.state") for part in parts))
        return {key: value for key, value in records if b"/w/" in key}

    assert verdicts(before, after) == verdicts(whole)
    assert conditions(before, after) == conditions(whole)
    assert any(not leaf.verdict.valid for leaf in whole.leaves() if leaf.verdict)


def test_what_a_condition_remembers_is_written_once_a_transaction_and_only_when_it_changes() -> None:
    written, one = Written(), started()
    for offset in range(4):
        one.process(record(call(1), received=NOW, offset=offset), written)
    one.flush(written)
    one.process(record(call(tool="other"), received=NOW, offset=4), written)
    one.flush(written)
    keys = [key.decode() for key, _ in written.of("evaluator.state")]
    conditions = [key for key in keys if "/w/" in key]
    assert len(conditions) == 1
    agent_id, marker, measure, key = conditions[0].split("/")
    assert (agent_id, marker, len(measure), len(key)) == (AGENT, "w", 32, 32)
    assert b"s-1" not in b"".join(value or b"" for _, value in written.of("evaluator.state"))


def test_what_has_expired_leaves_the_changelog() -> None:
    written, one = Written(), started(document(window(tools=["transfer_funds"], limit=100)))
    one.process(record(call(1), received=NOW), written)
    one.flush(written)
    later = call(tool="other", occurred_at_micros=NOW + 9 * HOUR)
    one.process(record(later, received=NOW + 9 * HOUR, offset=1), written)
    one.flush(written)
    values = [value for key, value in written.of("evaluator.state") if b"/w/" in key]
    assert [value is None for value in values] == [False, True]
    restored(written).process(record(call(1), received=NOW + 9 * HOUR, offset=2), Written())


def test_a_new_version_goes_on_with_the_old_ones_budget() -> None:
    first = document(BUDGET)
    second = document(ORDER, window("major", tools=["transfer_funds"], limit=80, per="session"))
    written, one = Written(), started(first, second)
    one.process(record(call(60), received=NOW), written)
    one.process(record(call(tool="verify", pact_version=2), call(30, pact_version=2), received=NOW), written)
    leaves = written.leaves()
    assert [rules(leaf) for leaf in leaves] == [[], [], ["window"], ["window"]]
    assert leaves[3].pact is not None
    assert (leaves[3].pact.version, leaves[3].pact.id) == (2, PACT)


def test_agents_do_not_share_what_is_remembered() -> None:
    written, one = Written(), started()
    other = "00000000-0000-4000-8000-000000000002"
    one.process(record(call(60), received=NOW), written)
    batch = avro.decode_as("TelemetryBatch", record(call(60), received=NOW).value) | {"agent_id": other}
    value = avro.encode("TelemetryBatch", batch)
    one.process(dataclasses.replace(record(), key=other.encode(), value=value), written)
    assert [rules(leaf) for leaf in written.leaves()] == [[], []]


def test_a_blank_session_is_a_violation_of_its_own() -> None:
    written, one = Written(), started()
    one.process(record(call(60, session_id=" "), call(60, session_id=" "), received=NOW), written)
    assert [rules(leaf) for leaf in written.leaves()] == [["session"], ["session"]]


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({"outcome": "error"}, "warning"),
        ({"outcome": "error", "pact_id": None, "pact_version": None}, "warning"),
        ({"outcome": "success"}, None),
        ({"outcome": "denied"}, None),
        ({"outcome": "error", "type": "response", "tool": None, "params": None}, None),
    ],
)
def test_a_call_that_failed_is_recorded_as_a_warning_at_least(
    changes: dict[str, Any], severity: str | None
) -> None:
    written, one = Written(), started()
    one.process(record(call(1, **changes), received=NOW), written)
    (leaf,) = written.leaves()
    assert leaf.severity == severity
    assert leaf.verdict is None or (leaf.verdict.valid and leaf.verdict.severity is None)


@pytest.mark.parametrize(("severity", "recorded"), [("info", "warning"), ("minor", None), ("critical", None)])
def test_a_graver_verdict_stands_for_itself(severity: str, recorded: str | None) -> None:
    written, one = Written(), started(document(window(severity, tools=["transfer_funds"], limit=0)))
    one.process(record(call(1, outcome="error"), received=NOW), written)
    leaf = written.leaves()[0]
    assert leaf.verdict is not None
    assert (leaf.severity, leaf.verdict.severity) == (recorded, severity)


@pytest.mark.parametrize("value", [b"junk", avro.encode("ConditionState", {"entry": b"junk"})])
def test_a_record_that_is_no_state_stops_the_worker_and_names_the_agent(value: bytes) -> None:
    one = started()
    one.restore(f"{AGENT}/w/a/b".encode(), value)
    with pytest.raises(Fatal, match=AGENT):
        one.process(record(call(60), received=NOW), Written())
