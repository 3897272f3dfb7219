"""Makes ClickHouse's tables: numbered SQL files, applied once each, in order, and recorded with a checksum."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

from pactstream.clickhouse import cluster
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import Fatal
from pactstream.settings import ClickHouseSettings

_FILE_NAME = re.compile(r"(?P<number>[0-9]{4})_[a-z0-9_]+\.sql")
_PIECE = re.compile(
    r"""
    (?P<blank>  --[^\n]* | /\*.*?\*/ | \s+ )
  | (?P<quoted> '(?:[^'\\]|\\.|'')*' | `(?:[^`\\]|\\.)*` | "(?:[^"\\]|\\.)*" )
  | (?P<end>    ; )
  | (?P<other>  . )
    """,
    re.VERBOSE | re.DOTALL,
)
_RECORDS = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    number      UInt16 COMMENT 'Of the file in pactstream/clickhouse/migrations.',
    name        String COMMENT 'The file''s name.',
    checksum    String COMMENT 'SHA-256 of the file, hexadecimal.',
    applied_at  DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was done.'
)
ORDER BY number
SETTINGS non_replicated_deduplication_window = 1000, replicated_deduplication_window = 1000
COMMENT 'Which migrations have been applied.'
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name and its text."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Hex SHA-256 of the text."""
        return sha256(self.sql.encode()).hexdigest()


def packaged() -> tuple[Migration, ...]:
    """The migrations that came with this version, in order.

    Raises:
        Fatal: their numbers do not count from 1 without gaps: the installation is damaged.
    """
    found = []
    for file in files("pactstream.clickhouse").joinpath("migrations").iterdir():
        if match := _FILE_NAME.fullmatch(file.name):
            found.append(Migration(int(match["number"]), file.name, file.read_text(encoding="utf-8")))
    found.sort(key=lambda one: one.number)
    if [one.number for one in found] != list(range(1, len(found) + 1)):
        raise Fatal(f"migrations must be numbered 1 to {len(found)}: {[one.name for one in found]}")
    return tuple(found)


def apply(settings: ClickHouseSettings, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Create the database if need be and apply what is missing; returns the names of what was applied.

    Safe to repeat, and to run twice at once: every statement says `IF NOT EXISTS` (a test checks it), and a
    record has a deduplication token.

    Raises:
        Fatal: an applied file was changed since, or the database is newer than this version.
        Retryable: ClickHouse does not answer.
    """
    wanted = packaged() if migrations is None else migrations
    on_cluster = f" ON CLUSTER '{settings.clickhouse_cluster}'" if settings.clickhouse_cluster else ""
    with ClickHouse(settings, use_database=False) as server:
        server.command(
            f"CREATE DATABASE IF NOT EXISTS {{name:Identifier}}{on_cluster}",
            {"name": settings.clickhouse_database},
        )
    with ClickHouse(settings) as database:
        for statement in _made_of(_RECORDS, settings):
            database.command(statement)
        applied = _applied(database)
        _check(applied, wanted)
        missing = [one for one in wanted if one.number not in applied]
        for migration in missing:
            for statement in _made_of(migration.sql, settings):
                database.command(statement)
            # A crash before the next line leaves tables that are not recorded: the next run makes them again,
            # which changes nothing, and records them.
            _record(database, migration)
    return [one.name for one in missing]


def _made_of(sql: str, settings: ClickHouseSettings) -> list[str]:
    cluster_name, database = settings.clickhouse_cluster, settings.clickhouse_database
    return [
        made for statement in statements(sql) for made in cluster.statements(statement, cluster_name, database)
    ]


def statements(sql: str) -> list[str]:
    """The statements of a file, without comments: split at semicolons that stand in no string or comment."""
    found, current = [], ""
    for piece in _PIECE.finditer(sql):
        if piece.lastgroup == "end":
            found.append(current.strip())
            current = ""
        else:
            current += " " if piece.lastgroup == "blank" else piece[0]
    return [statement for statement in [*found, current.strip()] if statement]


def _applied(database: ClickHouse) -> dict[int, str]:
    rows = database.rows("SELECT number, checksum FROM schema_migrations ORDER BY number")
    return {row[0]: row[1] for row in rows}


def _check(applied: dict[int, str], wanted: Iterable[Migration]) -> None:
    known = {one.number: one for one in wanted}
    for number, checksum in applied.items():
        if number not in known:
            raise Fatal(f"the database has migration {number:04}, which this version does not know: upgrade")
        if known[number].checksum != checksum:
            raise Fatal(f"{known[number].name} was changed after it was applied: write a new migration instead")


def _record(database: ClickHouse, migration: Migration) -> None:
    database.insert(
        "schema_migrations",
        ("number", "name", "checksum"),
        [(migration.number, migration.name, migration.checksum)],
        token=f"{migration.number}/{migration.checksum}",
    )
