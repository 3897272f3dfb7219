"""`deploy/clickhouse/users.sql`: the real engine reads each statement, and each names tables that there are."""

from __future__ import annotations

import re
from pathlib import Path

import clickhouse_connect
import pytest

from pactstream.clickhouse import migrate
from pactstream.kafka.rights import RIGHTS
from pactstream.settings import ClickHouseSettings
from tests import granted
from tests.stack import ClickHouseAddress

FILE = Path(__file__).parents[2] / "deploy" / "clickhouse" / "users.sql"
WITHOUT = {"gateway", "evaluator", "behaviour", "external", "otlp"}  # they know no ClickHouse
ROOT = FILE.parents[2]
# Where each user's statements stand.
SOURCES = {
    "sealer": ("ledger_sealer/[!r]*.py", "ledger_sealer/rows.py", "pactstream/clickhouse/erasure.py"),
    "aggregator": ("score_aggregator/*.py", "score_aggregator/sql/*.sql"),
    "oracle": ("oracle_api/*.py",),
    "console": ("oracle_api/console/*.py",),
    "push": ("oracle_api/push/*.py",),
    "paging": ("evaluator_worker/paging/*.py",),
    "anomaly": ("evaluator_worker/anomaly/*.py",),
}
# The projector writes these by one statement; it reads them only to see what is there.
BY_BLOCKS = {("INSERT", "room_events"), ("INSERT", "room_event_payloads"), ("INSERT", "ledger_segments")}
NEVER = (
    "DROP TABLE pactstream.room_events",
    "TRUNCATE TABLE pactstream.ledger_segments",
    "ALTER TABLE pactstream.room_events UPDATE valid = true WHERE 1",
    "CREATE TABLE pactstream.mine (a Int8) ENGINE = MergeTree ORDER BY a",
    "CREATE USER mine IDENTIFIED WITH no_password",
    "SELECT * FROM system.users",
    "SELECT * FROM file('/etc/hostname', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'line String')",
)

Need = tuple[str, str]  # a verb and a table


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


def grants_of(user: str) -> list[str]:
    suffix = f" TO pactstream_{user}"
    return [one.removeprefix("GRANT ").removesuffix(suffix) for one in statements() if one.endswith(suffix)]


def needs(user: str, tables: set[str]) -> set[Need]:
    """What the user's program does, by its source."""
    source = "".join(path.read_text() for pattern in SOURCES[user] for path in sorted(ROOT.glob(pattern)))
    read = {("SELECT", table) for table in re.findall(r"(?:FROM|JOIN) (\w+)", source) if table in tables}
    written = {("INSERT", table) for table in re.findall(r'\.insert\("(\w+)"', source)}
    erased = re.findall(r"ALTER TABLE (?:\{local\(')?(\w+)[^\n]* DELETE", source)
    deleted = {("ALTER DELETE", table) for table in erased}
    return read | written | deleted | (BY_BLOCKS if user == "sealer" else set())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A directory with the tables, and each table's first column with its type."""
    directory = tmp_path_factory.mktemp("granted")
    create = ["CREATE DATABASE pactstream"]
    for migration in migrate.packaged():
        create += [one for one in migrate.statements(migration.sql) if "INSERT INTO" not in one]
    acts = "ALTER TABLE latest_scores_filled MODIFY DEFINER = pactstream_operator SQL SECURITY DEFINER"
    create[1:1] = ["USE pactstream"]
    everything = ["ALL ON *.* WITH GRANT OPTION"]
    answers = granted.ask(directory, granted.ADMINISTRATOR, everything, [*create, acts])
    assert set(answers) == {None}, list(zip([*create, acts], answers, strict=True))
    columns = {
        table: re.search(rf"CREATE TABLE IF NOT EXISTS {table}\s*\(\s*(\w+ +\S+)", "".join(create))
        for table in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", "".join(create))
    }
    return directory, {table: found[1] for table, found in columns.items() if found}


@pytest.mark.parametrize("user", SOURCES)
def test_the_engine_lets_each_user_do_what_its_program_does_and_nothing_else(
    made: tuple[Path, dict[str, str]], user: str
) -> None:
    directory, columns = made
    tries: dict[Need, str] = {}
    for table, column in columns.items():
        name, kind = column.split()
        tries["SELECT", table] = f"SELECT * FROM pactstream.{table} LIMIT 1"
        tries["INSERT", table] = (
            f"INSERT INTO pactstream.{table} ({name}) SELECT defaultValueOfTypeName('{kind}') WHERE 0"
        )
        tries["ALTER DELETE", table] = (
            f"ALTER TABLE pactstream.{table} DELETE WHERE 0 SETTINGS mutations_sync = 2"
        )
    # As the client library does when it connects.
    connect = "SELECT name, value, readonly FROM system.settings LIMIT 1"
    answers = granted.ask(directory, user, grants_of(user), [connect, *tries.values(), *NEVER])
    assert answers[0] is None
    assert set(answers) <= {None, granted.DENIED}
    allowed = {need for need, answer in zip(tries, answers[1:], strict=False) if answer is None}
    assert allowed == needs(user, set(columns))
    assert set(answers[-len(NEVER) :]) == {granted.DENIED}


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
