"""The aggregator on a real broker and a real ClickHouse: scores arrive once, through restarts and repeats."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Thread
from typing import Any

import pytest

from pactstream import avro, clock
from pactstream.clickhouse import migrate
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import Retryable
from pactstream.kafka import topics
from pactstream.scores.leaves import parse_leaves
from score_aggregator import table, wiring
from score_aggregator.projector import projector
from score_aggregator.settings import AggregatorSettings
from score_aggregator.state import AgentState
from tests.kafka_tools import create_topics, produce, read_all
from tests.score_tools import AGENT, BROKEN, KEPT, NOON, OTHER, atlas, batch, call
from tests.stack import ClickHouseAddress, eventually

Loop = Callable[[Event], None]


@contextmanager
def running(*loops: Loop) -> Iterator[None]:
    """The loops, a thread each, stopped gracefully on leaving; a failure of one fails the test."""
    stop, failures = Event(), []

    def guarded(loop: Loop) -> None:
        try:
            loop(stop)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    with ExitStack() as cleanup:
        for loop in loops:
            thread = Thread(target=guarded, args=(loop,))
            cleanup.callback(thread.join, 30)
            thread.start()
        cleanup.callback(stop.set)
        yield
    assert failures == []


@pytest.fixture
def settings(
    kafka_bootstrap: str, topic_prefix: str, clickhouse_database: ClickHouseAddress
) -> AggregatorSettings:
    where = clickhouse_database
    ours = AggregatorSettings(
        kafka_bootstrap=kafka_bootstrap,
        kafka_topic_prefix=topic_prefix,
        instance="one",
        clickhouse_host=where.host,
        clickhouse_port=where.port,
        clickhouse_user=where.user,
        clickhouse_password=where.password,
        clickhouse_database=where.database,
    )
    create_topics(ours)
    migrate.apply(ours)
    return ours


@pytest.fixture
def database(settings: AggregatorSettings) -> Iterator[ClickHouse]:
    with ClickHouse(settings) as opened:
        yield opened


def send(settings: AggregatorSettings, *records: Any) -> None:
    produce(settings, topics.EVALUATED, [(one.key, one.value) for one in records], partition=1)


def latest(database: ClickHouse) -> dict[str, tuple[Any, ...]]:
    """Agent to (through_sequence, bound, valid), and no more than one row an agent and day."""
    rows = database.rows(
        "SELECT toString(agent_id), through_sequence, bound_calls, valid_calls FROM scores FINAL"
    )
    found = {agent: tuple(rest) for agent, *rest in rows}
    assert len(found) == len(rows)
    return found


def test_scores_reach_the_table_and_survive_a_restart(
    settings: AggregatorSettings, database: ClickHouse
) -> None:
    day, now = atlas(), clock.now_micros()
    send(settings, batch(1, day[:20], received=now), batch(1, [call(BROKEN)], OTHER))
    processor, projector = wiring.build(settings, database)
    with running(processor.run, projector.run):
        eventually(lambda: latest(database).get(OTHER) == (1, 1, 0), timeout=30)
        eventually(lambda: latest(database).get(AGENT, (0,))[0] == 20, timeout=30)
    send(settings, batch(21, day[20:], received=now))
    processor, projector = wiring.build(settings, database)
    with running(processor.run, projector.run):
        eventually(lambda: latest(database).get(AGENT) == (40, 25, 24), timeout=30)
    last = avro.decode_as("Score", read_all(settings, topics.SCORES)[-1].value())
    assert (last["through_sequence"], last["violations"], last["covered_weight"]) == (40, {"critical": 1}, 43)
    (row,) = database.rows(
        """
        SELECT composite, points, confidence, tier, arrayZip(dimensions.name, dimensions.score),
            dimensions.inputs[2]
        FROM scores FINAL WHERE agent_id = {agent:UUID}
        """,
        {"agent": AGENT},
    )
    composite, points, confidence, tier, scores, inputs = row
    assert (composite, confidence, tier) == (last["composite"], last["confidence"], "")
    assert points == last["points"] == round(10 * composite)
    assert scores == [(one["name"], one["score"]) for one in last["dimension_scores"]]
    assert dict(scores)["accuracy"] is None
    assert json.loads(inputs) == last["dimension_scores"][1]["inputs"]


def test_a_crash_between_insert_and_commit_leaves_no_second_row(
    settings: AggregatorSettings, database: ClickHouse
) -> None:
    calls = []

    def insert_then_fail(scores: Any) -> None:
        table.insert(database, scores)
        calls.append(len(scores))
        if len(calls) == 1:
            raise Retryable("planned: the rows are in, the offsets are not committed")

    send(settings, batch(1, atlas()))
    processor, _ = wiring.build(settings, database)
    with running(processor.run, projector(settings, insert_then_fail, 0.05).run):
        eventually(lambda: len(calls) >= 2, timeout=30)
    assert latest(database) == {AGENT: (40, 25, 24)}


def test_an_older_score_after_a_newer_changes_nothing(
    settings: AggregatorSettings, database: ClickHouse
) -> None:
    newer, older = (avro.decode_as("Score", score_after(count)) for count in (2, 1))
    for score in (newer, older):
        table.insert(database, [score])
    assert latest(database) == {AGENT: (2, 2, 2)}


def score_after(count: int) -> bytes:
    agent = AgentState(AGENT)
    value = batch(1, [call(KEPT)] * count).value
    agent.add(parse_leaves(avro.decode_as("EvaluatedBatch", value)), "p", 1_000)
    return agent.encode_score(NOON + count)
