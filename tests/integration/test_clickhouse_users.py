"""`deploy/clickhouse/users.sql`: the real engine reads each statement, and each names tables that there are."""

from __future__ import annotations

import re
from pathlib import Path

import clickhouse_connect

from pactstream.clickhouse import migrate
from pactstream.kafka.rights import RIGHTS
from pactstream.settings import ClickHouseSettings
from tests.stack import ClickHouseAddress

FILE = Path(__file__).parents[2] / "deploy" / "clickhouse" / "users.sql"
WITHOUT = {"gateway", "evaluator", "behaviour"}  # they know no ClickHouse


def statements() -> list[str]:
    text = re.sub(r"^--.*$", "", FILE.read_text(), flags=re.M)
    return [one.strip() for one in text.split(";") if one.strip()]


def test_each_service_that_needs_one_has_a_user() -> None:
    users = re.findall(r"CREATE USER IF NOT EXISTS pactstream_(\w+) ", FILE.read_text())
    assert set(users) == (set(RIGHTS) - WITHOUT) | {"operator"}
    granted = re.findall(r" TO pactstream_(\w+)", FILE.read_text())
    assert set(granted) == set(users)


def test_the_oracle_reads_only_and_no_private_value() -> None:
    rights = [one for one in statements() if one.endswith("TO pactstream_oracle")]
    assert all(one.startswith("GRANT SELECT ON ") for one in rights)
    assert not [one for one in rights if "payloads" in one]


def test_the_oracle_may_read_whatever_it_asks_for() -> None:
    source = "".join(one.read_text() for one in (FILE.parents[2] / "oracle_api").glob("*.py"))
    made = set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", "".join(one.sql for one in migrate.packaged())))
    asked = set(re.findall(r"(?:FROM|JOIN) (\w+)", source)) & made
    granted = set(re.findall(r"ON pactstream\.(\w+) TO pactstream_oracle", FILE.read_text()))
    assert {"latest_scores", "room_events", "ledger_segments"} <= asked
    assert asked == granted


def test_the_engine_reads_every_statement(clickhouse_database: ClickHouseAddress) -> None:
    server = clickhouse_database
    settings = ClickHouseSettings(
        clickhouse_host=server.host,
        clickhouse_port=server.port,
        clickhouse_database=server.database,
    )
    migrate.apply(settings)
    client = clickhouse_connect.get_client(host=server.host, port=server.port)
    try:
        for one in statements():
            formatted = client.query("SELECT formatQuerySingleLine({q:String})", {"q": one}).result_rows[0][0]
            assert formatted.startswith(one[:12])
        tables = {
            name
            for (name,) in client.query(
                "SELECT name FROM system.tables WHERE database = {db:String}", {"db": server.database}
            ).result_rows
        }
    finally:
        client.close()
    named = set(re.findall(r" ON pactstream\.(\w+) ", FILE.read_text()))
    assert named <= tables
