"""Nightly scores: SQL over a real ledger comes to what the live scores come to, and falls are explained."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
import pytest

from pactstream import avro
from pactstream.clickhouse import migrate
from pactstream.clickhouse.client import ClickHouse
from pactstream.clickhouse.ledger_rows import LEAF_COLUMNS, leaf_columns
from pactstream.ledger import merkle
from pactstream.ledger.leaf import parse_leaf
from pactstream.scores.evidence import LATENCY_EDGES
from pactstream.scores.leaves import parse_leaves
from pactstream.scores.statistics import HALF_LIFE_DAYS
from pactstream.scores.tally import DAY_MICROS, record
from pactstream.settings import ClickHouseSettings
from score_aggregator import nightly, table
from score_aggregator.queries import sql
from score_aggregator.state import AgentState
from tests.evaluator_tools import AGENT, DOCUMENT, PACT, Pacts, Written
from tests.evaluator_tools import record as source
from tests.evaluator_tools import task as evaluator
from tests.score_tools import ISSUER, SECOND, TODAY, attests
from tests.stack import ClickHouseAddress

HOUR = DAY_MICROS // 24
MIDNIGHT = TODAY * DAY_MICROS
AIMS = {"latencyP95Ms": 100, "allowedModels": ["m-1"], "tokensPerSession": 1_000}
DOCUMENTS = (DOCUMENT | {"objectives": AIMS}, DOCUMENT)


@pytest.fixture
def database(clickhouse_database: ClickHouseAddress) -> Iterator[ClickHouse]:
    where = clickhouse_database
    settings = ClickHouseSettings(
        clickhouse_host=where.host,
        clickhouse_port=where.port,
        clickhouse_user=where.user,
        clickhouse_password=where.password,
        clickhouse_database=where.database,
    )
    migrate.apply(settings)
    with ClickHouse(settings) as opened:
        yield opened


class Ledger:
    """Judges one agent's events with the real evaluator, into the real table and into a live tally."""

    def __init__(self, database: ClickHouse) -> None:
        self.counted = AgentState(AGENT)
        self._evaluator = evaluator(pacts=Pacts(*DOCUMENTS))
        self._database = database
        self._leaves = 0
        self._rows: list[tuple[object, ...]] = []

    def take(self, *events: dict[str, Any], at: int, tenant: str = "tenant-1") -> None:
        written = Written()
        batch = avro.decode_as("TelemetryBatch", source(*events, received=at).value)
        value = avro.encode("TelemetryBatch", batch | {"tenant_pseudonym": tenant, "tenant_id": tenant})
        given = source(received=at, offset=self._leaves)
        self._evaluator.process(type(given)(given.topic, 3, self._leaves, given.key, value), written)
        for _, evaluated in written.of("telemetry.evaluated"):
            judged = avro.decode_as("EvaluatedBatch", evaluated)
            self.counted.add(parse_leaves(judged), tenant, at)
            for event in judged["events"]:
                leaf = event["leaf"]
                columns = leaf_columns(parse_leaf(leaf))
                self._rows.append((3, self._leaves, *columns.values(), leaf, merkle.leaf_hash(leaf)))
                self._leaves += 1

    def write(self) -> None:
        """What was taken reaches the table."""
        columns = ("log", "leaf_index", *LEAF_COLUMNS, "leaf", "leaf_hash")
        self._database.insert("room_events", columns, self._rows)
        self._rows.clear()


def event(number: int, **members: Any) -> dict[str, Any]:
    empty = {
        "event_id": str(UUID(int=number + 1, version=4)),
        "session_id": f"s-{number // 7}",
        "occurred_at_micros": MIDNIGHT,
        "pact_id": None,
        "pact_version": None,
    }
    return empty | members


def chance_event(chance: random.Random, number: int) -> dict[str, Any]:
    """Any event that an agent may send."""
    stated: dict[str, Any] = {}
    if chance.random() < 0.5:
        stated["confidence"] = chance.choice([0, 0.3, 0.5, 0.7, 0.85, 0.949, 0.95, 1])
    if chance.random() < 0.5:
        stated["model_version"] = chance.choice(["m-1", "m-2"])
    pact = {"pact_id": PACT, "pact_version": chance.choice([1, 2])} if chance.random() < 0.8 else {}
    latency = {"latency_ms": chance.choice([0, 0.4, 1, 99.9, 100, 100.1, 7e6])} if chance.random() < 0.7 else {}
    common = {"metadata": msgspec.json.encode(stated) if stated else None} | pact
    match chance.randrange(6):
        case 0:
            return event(number, type="session_start", **common)
        case 1:
            outcome = chance.choice(["success", "success", "failure", "aborted", "timeout"])
            return event(number, type="session_end", outcome=outcome, **common)
        case 2:
            outcome = chance.choice(["success", "success", "refusal", "partial", "error"])
            tokens = chance.choice([None, 0, 10, 700, 2**40])
            extra = common | latency
            return event(number, type="response", outcome=outcome, token_count=tokens, **extra)
        case _:
            outcome = chance.choice(["success", "success", "success", "error", "denied", "refused"])
            params = msgspec.json.encode({"amount": chance.choice([1, 10, 5_000])})
            tool = chance.choice(["transfer_funds", "transfer_funds", "look_up", "größe"])
            return event(
                number, type="tool_call", tool=tool, params=params, outcome=outcome, **common, **latency
            )


def by_agent(database: ClickHouse, day: int = TODAY) -> dict[str, Any]:
    return {one["agent_id"]: one for one in nightly.nightly_scores(database, day)}


def close(one: Any, two: Any) -> bool:
    """Equal, figures to 1e-9."""
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(close(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(close, one, two))
    return bool(one == pytest.approx(two, abs=1e-9) if isinstance(one, float) else one == two)


@pytest.mark.parametrize("seed", [1, 2])
def test_sql_over_the_ledger_and_the_live_score_agree(database: ClickHouse, seed: int) -> None:
    chance, ledger = random.Random(seed), Ledger(database)
    number = 0
    for _ in range(60):
        events = [chance_event(chance, number + n) for n in range(chance.randrange(1, 30))]
        number += len(events)
        at = MIDNIGHT - 1 - chance.randrange(95 * 24) * HOUR
        ledger.take(*events, at=at, tenant=chance.choice(["tenant-1", "tenant-2", "täter"]))
    for n, leaf in enumerate(
        [
            attests("accuracy", correct=90, total=100, benchmark="b", age_days=3),
            attests("security", SECOND, n=2, critical=0, high=1, medium=0, low=0, scope="s"),
            attests("bond", n=3, amount="1", currency="USDC", coverage=0.5),
            attests("revocation", SECOND, n=4, revokes="00000000-0000-4000-8000-000000000002"),
        ]
    ):
        signed = event(number + n, type="attestation", attestation=leaf["attestation"], session_id=ISSUER)
        ledger.take(signed, at=MIDNIGHT - HOUR)
    ledger.write()
    live = record(AGENT, ledger.counted.tally.totals, ledger.counted.tally.score(MIDNIGHT))
    (night,) = by_agent(database).values()
    assert close(live, night)
    scores = {one["name"]: one["score"] for one in night["dimension_scores"]}
    assert [name for name, score in scores.items() if score is None] == ["security"]
    assert night["composite"] is not None


def test_a_night_that_is_run_again_changes_nothing(database: ClickHouse) -> None:
    ledger, chance = Ledger(database), random.Random(7)
    ledger.take(*[chance_event(chance, n) for n in range(50)], at=MIDNIGHT - HOUR)
    ledger.write()
    every = "SELECT * FROM scores FINAL ORDER BY ALL"
    assert nightly.run(database, TODAY) == nightly.Night(agents=1, falls=0)
    first = database.rows(every)
    assert len(first) == 1
    # What arrived after midnight is the next night's.
    ledger.take(*[chance_event(chance, 100 + n) for n in range(50)], at=MIDNIGHT + 1)
    ledger.write()
    assert nightly.run(database, TODAY) == nightly.Night(agents=1, falls=0)
    assert database.rows(every) == first


def test_silence_lowers_the_nightly_score_until_there_is_none(database: ClickHouse) -> None:
    ledger = Ledger(database)
    pact = {"pact_id": PACT, "pact_version": 2}
    for day in range(1, 30):
        for hour in range(12):
            pay = event(day * 100 + hour, type="tool_call", tool="transfer_funds", outcome="success", **pact)
            end = event(day * 100 + 50 + hour, type="session_end", outcome="success")
            start = event(day * 100 + 80 + hour, type="session_start")
            ledger.take(
                start, pay | {"params": b'{"amount":1}'}, end, at=MIDNIGHT - day * DAY_MICROS + hour * HOUR
            )
    ledger.write()
    composites = []
    for days in (0, HALF_LIFE_DAYS, 4 * HALF_LIFE_DAYS, 90):
        nightly.run(database, TODAY + days)
        ((composite,),) = database.rows(
            "SELECT composite FROM scores FINAL WHERE nightly ORDER BY day DESC LIMIT 1"
        )
        composites.append(composite)
    assert composites[0] > composites[1] > composites[2]
    assert composites[3] is None
    assert nightly.run(database, TODAY + 200).agents == 0


def test_a_fall_is_recorded_with_what_made_it(database: ClickHouse) -> None:
    ledger = Ledger(database)
    pact = {"pact_id": PACT, "pact_version": 2, "tool": "transfer_funds", "type": "tool_call"}
    number = 0

    def calls(amount: int, days: range) -> None:
        nonlocal number
        for day in days:
            for hour in range(12):
                number += 2
                params = b'{"amount":%d}' % amount
                call = event(number, outcome="success", params=params, **pact)
                start, end = (
                    event(number + 1, type="session_start"),
                    event(number + 100_000, type="session_end", outcome="success"),
                )
                ledger.take(start, call, end, at=MIDNIGHT + day * DAY_MICROS + hour * HOUR)
        ledger.write()

    calls(1, range(-20, 0))
    assert nightly.run(database, TODAY).falls == 0
    calls(5_000, range(3))
    assert nightly.run(database, TODAY + 3).falls == 1
    assert nightly.run(database, TODAY + 3).falls == 1  # once more, and one row still
    ((day, previous_day, composite, previous, change, parts, events),) = database.rows(
        """
        SELECT toUInt16(day), toUInt16(previous_day), composite, previous, change_micros,
            arrayZip(contributions.dimension, contributions.micros),
            arrayZip(events.dimension, events.what, events.sequence)
        FROM score_regressions FINAL
        """
    )
    assert (day, previous_day) == (TODAY + 3, TODAY)
    assert previous - composite > 5
    assert change == sum(micros for _, micros in parts) == round(1e6 * composite) - round(1e6 * previous)
    assert dict(parts)["safety"] < -5_000_000
    assert dict(parts)["accuracy"] == 0
    safety = [what for dimension, what, _ in events if dimension == "safety"]
    assert safety == ["critical violation by transfer_funds"] * 5
    assert max(sequence for *_, sequence in events) == ledger.counted.tally.totals.through_sequence - 1


def test_nobody_is_reported_twice_for_one_fall(database: ClickHouse) -> None:
    ledger, chance = Ledger(database), random.Random(3)
    ledger.take(*[chance_event(chance, n) for n in range(50)], at=MIDNIGHT - HOUR)
    ledger.write()
    for day in range(TODAY, TODAY + 3):
        nightly.run(database, day)
    assert database.rows("SELECT count() FROM score_regressions FINAL") == [(0,)]


def test_the_latency_edges_of_the_sql_are_those_of_the_code(database: ClickHouse) -> None:
    found = re.search(r"^ +(arrayFlatten.*) AS edges,$", sql("evidence"), re.MULTILINE)
    assert found is not None
    ((edges,),) = database.rows(f"SELECT {found[1]}")
    assert tuple(edges) == LATENCY_EDGES


def test_live_and_nightly_rows_stand_side_by_side(database: ClickHouse) -> None:
    ledger, chance = Ledger(database), random.Random(5)
    ledger.take(*[chance_event(chance, n) for n in range(50)], at=MIDNIGHT - HOUR)
    ledger.write()
    nightly.run(database, TODAY)
    table.insert(database, [avro.decode_as("Score", ledger.counted.encode_score(MIDNIGHT + HOUR))])
    rows = database.rows("SELECT nightly, toUInt16(day) FROM scores FINAL ORDER BY nightly")
    assert rows == [(False, TODAY), (True, TODAY)]
