"""The dashboards' queries on the real engine: known answers, with projections and without, and once only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pactstream.clickhouse import migrate
from pactstream.clickhouse.client import ClickHouse, Row
from tests.sealer_stack import clickhouse_settings
from tests.stack import ClickHouseAddress, StackAddresses, eventually, fresh_database

QUERIES = Path(__file__).parents[2] / "docs" / "queries"
FROM = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
PARAMETERS: dict[str, object] = {"from": FROM, "to": FROM + timedelta(hours=1), "step": 1_800}
BUSY, QUIET = (UUID(int=number) for number in (1, 2))
PACT = UUID(int=7)
OF_EVENTS = (
    "session_health",
    "session_rates",
    "pact_compliance",
    "compliance_over_time",
    "compliance_of_all",
)
_COLUMNS = (
    "log", "leaf_index", "event_id", "type", "agent_id", "session_id", "sequence", "occurred_at", "received_at",
    "tool", "outcome", "pact_id", "bound", "valid", "severity", "violations.param_path", "violations.rule",
    "violations.severity", "leaf_hash",
)  # fmt: skip
_WITH = {"optimize_use_projections": 1, "force_optimize_projection": 1}
_WITHOUT = {"optimize_use_projections": 0}


def micros(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000


def event(number: int, kind: str, agent: UUID, session: str, seconds: float, **given: Any) -> Row:
    at = FROM + timedelta(seconds=seconds)
    severity, paths = given.get("severity", ""), given.get("paths", [])
    pact = given.get("pact")
    return (
        0, number, str(UUID(int=1_000 + number)), kind, str(agent), session, number, micros(at), micros(at),
        "pay" if kind == "tool_call" else "", given.get("outcome", ""), pact and str(pact), pact is not None,
        None if pact is None else not severity, severity, paths, ["maxAmount"] * len(paths),
        [severity] * len(paths), bytes(32),
    )  # fmt: skip


def events() -> list[Row]:
    """An hour of two agents; one session began before it."""
    told: list[tuple[str, UUID, str, float, dict[str, Any]]] = [
        ("session_start", BUSY, "s0", -600, {}),
        ("session_end", BUSY, "s0", 300, {"outcome": "failure"}),
    ]
    for number, seconds in enumerate((10, 20, 30, 40), 1):
        told.append(("session_start", BUSY, f"s{number}", 1_000 * (number - 1), {}))
        told.append(("session_end", BUSY, f"s{number}", 1_000 * (number - 1) + seconds, {"outcome": "success"}))
    wrong = {
        3: ("critical", ["amount", "destination"]),
        4: ("critical", ["amount"]),
        5: ("minor", ["memo"]),
    }
    for number in range(100):
        severity, paths = wrong.get(number, ("", []))
        given = {"outcome": "error" if number >= 95 else "success", "pact": PACT}
        told.append(("tool_call", BUSY, "s1", number, {**given, "severity": severity, "paths": paths}))
    told.append(("session_start", QUIET, "q", 2_000, {}))
    told += [("tool_call", QUIET, "q", 2_001 + number, {"outcome": "success"}) for number in range(2)]
    # After the hour: none of the figures.
    told.append(("tool_call", BUSY, "s9", 3_700, {"pact": PACT, "severity": "critical", "paths": ["late"]}))
    return [event(number, *one[:4], **one[4]) for number, one in enumerate(told)]


@pytest.fixture(scope="module")
def database(stack: StackAddresses) -> Iterator[ClickHouse]:
    """Every block twice, as after a lost answer; the pact in two versions; samples of two processes."""
    with fresh_database(stack) as address:
        settings = clickhouse_settings(address)
        migrate.apply(settings)
        with ClickHouse(settings) as client:
            rows = events()
            for _ in range(2):
                for begin in range(0, len(rows), 40):
                    block = rows[begin : begin + 40]
                    client.insert("room_events", _COLUMNS, block, token=f"0/{begin}/room_events")
            client.insert(
                "pacts",
                ("pact_id", "version", "tenant_id", "name"),
                [(str(PACT), 1, "t", "Old"), (str(PACT), 2, "t", "Treasury")],
            )
            client.insert("oracle_samples", _SAMPLE, samples())
            yield client


_SAMPLE = (
    "instance",
    "at",
    "seconds",
    "requests",
    "failures",
    "buckets",
    "checks",
    "failed_checks",
    "lag_seconds",
)


def samples() -> list[Row]:
    at = FROM + timedelta(seconds=10)
    # Of 100 answers 90 within 1 ms, 9 within 10 ms, one later than all bounds.
    late = [90, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    idle = [0] * 13
    return [
        ("one", micros(at), 10.0, 100, 2, late, 1, 0, 0.5),
        ("one", micros(at + timedelta(seconds=10)), 10.0, 0, 0, idle, 1, 1, 1.5),
        ("two", micros(at), 10.0, 0, 0, idle, 0, 0, None),
        ("two", micros(FROM + timedelta(hours=2)), 10.0, 5, 5, [5, *idle[1:]], 1, 1, 99.0),
    ]


def ask(database: ClickHouse, name: str, settings: dict[str, int] | None = None) -> list[tuple[Any, ...]]:
    sql = (QUERIES / f"{name}.sql").read_text(encoding="utf-8")
    used = {name: PARAMETERS[name] for name in set(re.findall(r"{(\w+):", sql))}
    if settings:
        sql += " SETTINGS " + ", ".join(f"{key} = {value}" for key, value in settings.items())
    return database.rows(sql, used)


@pytest.fixture(params=[_WITH, _WITHOUT], ids=["projections", "rows"])
def settings(request: pytest.FixtureRequest) -> dict[str, int]:
    return dict(request.param)


def test_session_health(database: ClickHouse, settings: dict[str, int]) -> None:
    busy, quiet = ask(database, "session_health", settings)
    assert busy[0] == BUSY
    # Four of five sessions ended well; one began before the hour, and its duration counts.
    assert busy[1:3] == (pytest.approx(4 / 60), 80)
    assert busy[3:6] == pytest.approx((30, 728, 865.6))
    assert busy[6:] == (5, 3)
    assert quiet == (QUIET, pytest.approx(1 / 60), None, None, None, None, 0, None)


def test_session_rates(database: ClickHouse, settings: dict[str, int]) -> None:
    first, second = ask(database, "session_rates", settings)
    assert first == (FROM, pytest.approx(2 / 30), 5, 3)
    assert second[1:] == (pytest.approx(3 / 30), 0, None)


def test_pact_compliance(database: ClickHouse, settings: dict[str, int]) -> None:
    paths = "amount (2), destination (1), memo (1)"
    assert ask(database, "pact_compliance", settings) == [(BUSY, PACT, "Treasury", 100, 97, 2, 0, 1, 0, paths)]
    assert ask(database, "compliance_of_all", settings) == [(97,)]
    first, second = ask(database, "compliance_over_time", settings)
    assert first == (FROM, 97, 2, 0, 1, 0)
    assert second[1:] == (None, 0, 0, 0, 0)


def test_oracle_health(database: ClickHouse) -> None:
    one, two = ask(database, "oracle_health")
    assert one == ("one", 5, 0.001, 0.01, 2, 50, 1.5)
    assert two == ("two", 0, None, None, None, None, None)
    assert ask(database, "oracle_over_time") == [(FROM, 100 / 1_800, 2, 50, 1.5)]


def test_rows_that_were_there_before_are_counted_too(clickhouse_database: ClickHouseAddress) -> None:
    ours = clickhouse_settings(clickhouse_database)
    before = [one for one in migrate.packaged() if not one.name.endswith("_dashboards.sql")]
    number = next(one.number for one in migrate.packaged() if one.name.endswith("_dashboards.sql"))
    migrate.apply(ours, [one for one in before if one.number < number])
    with ClickHouse(ours) as client:
        client.insert("room_events", _COLUMNS, events())
        migrate.apply(ours)
        pending = "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND NOT is_done"
        eventually(lambda: client.rows(pending) == [(0,)], 30)
        for name in OF_EVENTS:
            assert ask(client, name, _WITH) == ask(client, name, _WITHOUT)
