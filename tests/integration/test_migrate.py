"""Migrations on a real ClickHouse."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from pactstream.clickhouse import migrate
from pactstream.clickhouse.client import ClickHouse
from pactstream.clickhouse.migrate import Migration, packaged
from pactstream.errors import Fatal, InvalidInput
from pactstream.settings import ClickHouseSettings
from tests.sealer_stack import clickhouse_settings
from tests.stack import ClickHouseAddress


@pytest.fixture
def settings(clickhouse_database: ClickHouseAddress) -> ClickHouseSettings:
    return clickhouse_settings(clickhouse_database)


def tables(settings: ClickHouseSettings) -> dict[str, str]:
    sql = "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
    with ClickHouse(settings) as database:
        return {row[0]: row[1] for row in database.rows(sql)}


def records(settings: ClickHouseSettings) -> list[tuple[int, str]]:
    sql = "SELECT number, name FROM schema_migrations ORDER BY number"
    with ClickHouse(settings) as database:
        return [(row[0], row[1]) for row in database.rows(sql)]


def test_applied_once_however_often_it_is_run(settings: ClickHouseSettings) -> None:
    names = [one.name for one in packaged()]
    assert migrate.apply(settings) == names
    made = tables(settings)
    assert {"room_events", "room_event_payloads", "ledger_segments", "pacts", "scores"} <= made.keys()
    assert migrate.apply(settings) == []
    assert tables(settings) == made
    assert records(settings) == [(one.number, one.name) for one in packaged()]


def test_two_at_once_do_no_harm(settings: ClickHouseSettings) -> None:
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(migrate.apply, settings) for _ in range(2)]:
            done.result()
    assert records(settings) == [(one.number, one.name) for one in packaged()]


def test_a_crash_before_the_record_is_made_good(settings: ClickHouseSettings) -> None:
    first = packaged()[0]
    half = "CREATE TABLE IF NOT EXISTS half (a UInt8) ORDER BY a"
    broken = Migration(2, "0002_half.sql", half + "; SELECT nonsense")
    whole = Migration(2, "0002_half.sql", half)
    with pytest.raises(Fatal):
        migrate.apply(settings, [first, broken])
    assert records(settings) == [(1, first.name)]
    assert "half" in tables(settings)
    assert migrate.apply(settings, [first, whole]) == [whole.name]


def test_a_changed_file_is_refused(settings: ClickHouseSettings) -> None:
    migrate.apply(settings, packaged()[:1])
    first = packaged()[0]
    with pytest.raises(Fatal, match=r"0001_ledger\.sql was changed after it was applied"):
        migrate.apply(settings, [Migration(1, first.name, first.sql + " ")])


def test_a_newer_database_is_refused(settings: ClickHouseSettings) -> None:
    migrate.apply(settings)
    with pytest.raises(Fatal, match="which this version does not know"):
        migrate.apply(settings, packaged()[:-1])


def test_the_database_is_made_if_need_be(settings: ClickHouseSettings) -> None:
    fresh = settings.model_copy(update={"clickhouse_database": settings.clickhouse_database + "_fresh"})
    assert migrate.apply(fresh) != []
    with ClickHouse(fresh) as database:
        database.command("DROP DATABASE {name:Identifier} SYNC", {"name": fresh.clickhouse_database})


def test_every_column_is_described(settings: ClickHouseSettings) -> None:
    """Analysts read these."""
    migrate.apply(settings)
    with ClickHouse(settings) as database:
        for source in ("columns", "tables"):
            sql = "SELECT * FROM system.{source:Identifier} WHERE database = currentDatabase() AND comment = ''"
            assert database.rows(sql, {"source": source}) == []


def test_an_agents_rows_are_read_in_its_own_order(settings: ClickHouseSettings) -> None:
    migrate.apply(settings)
    with ClickHouse(settings) as database:
        database.command(
            "INSERT INTO room_events (log, leaf_index, agent_id, sequence) "
            "SELECT 0, number, toUUID('00000000-0000-4000-8000-000000000000'), number FROM numbers(100000)"
        )
        database.command(
            "INSERT INTO room_events (log, leaf_index, agent_id, sequence) "
            "SELECT 0, 100000 + number, generateUUIDv4(), 1 FROM numbers(200000)"
        )
        explained = database.rows(
            "EXPLAIN indexes = 1, projections = 1 SELECT valid, leaf_hash FROM room_events "
            "WHERE agent_id = toUUID('00000000-0000-4000-8000-000000000001') ORDER BY sequence DESC LIMIT 30"
        )
    assert any("by_agent" in row[0] for row in explained)


def test_blocks_of_one_token_are_inserted_once_and_values_are_checked(settings: ClickHouseSettings) -> None:
    migrate.apply(settings)
    columns = ("pact_id", "version", "name", "created_at")
    row = ("11111111-1111-4111-8111-111111111111", 1, "Treasury", 1_790_000_000_000_001)
    with ClickHouse(settings) as database:
        for token in ("a", "a", None, "b"):
            database.insert("pacts", columns, [row], token=token)
        found = database.rows(
            "SELECT toString(pact_id), version, name, toUnixTimestamp64Micro(created_at) FROM pacts"
        )
        with pytest.raises(InvalidInput):
            database.insert("pacts", columns, [("no uuid", *row[1:])])
    assert found == [row] * 3
