"""The same tables on a cluster: each statement of a migration as the statements that make it there. Text only.

A sharded table is two: `<table>_local`, replicated within its shard, and `<table>`, a Distributed table over
all of them, under the name that everybody reads and writes. What belongs to a leaf is sharded by its log: a
segment's rows go to one shard in one block, under one token, and an agent's are together, for an agent stays in
its log. What belongs to an agent and replaces its former self (`FINAL`) is sharded by agent. Small tables are
on every node, whole.

Nothing here asks for a `Replicated` database or a profile: `ON CLUSTER`, macros `{shard}` and `{replica}`, and
Keeper are all that the servers must have.
"""

from __future__ import annotations

import re
from typing import Final

from pactstream.errors import Fatal

_BY_AGENT: Final = "cityHash64(agent_id)"
SHARDED: Final = {
    "room_events": "log",
    "room_event_payloads": "log",
    "ledger_segments": "log",
    "scores": _BY_AGENT,
    "latest_scores": _BY_AGENT,
    "score_regressions": _BY_AGENT,
    "anomalies": _BY_AGENT,
    "pages": _BY_AGENT,
}
EVERYWHERE: Final = frozenset({"pacts", "oracle_samples", "schema_migrations"})

_CREATE_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (?P<table>\w+)\s+\(")
_CREATE_VIEW = re.compile(r"CREATE VIEW IF NOT EXISTS (?P<view>\w+)\s")
_CREATE_FILLED = re.compile(
    r"CREATE MATERIALIZED VIEW IF NOT EXISTS (?P<view>\w+) TO (?P<table>\w+)\s"
    r"(?P<rest>.*)\bFROM (?P<source>\w+)\b",
    re.DOTALL,
)
_ALTER = re.compile(r"ALTER TABLE (?P<table>\w+)\s+(?P<change>(?P<verb>\w+) (?P<what>\w+).*)", re.DOTALL)
_DROP = re.compile(r"DROP TABLE IF EXISTS (?P<table>\w+)")
_ENGINE = re.compile(r"\s*ENGINE = (?P<name>\w+)(?:\((?P<arguments>\w*)\))?")
_TEXT_OR_PAREN = re.compile(r"'(?:[^'\\]|\\.|'')*'|[()]")


def local(table: str, cluster: str) -> str:
    """The table that holds the rows: what a change of rows must name, with `ON CLUSTER` behind it."""
    return f"{table}_local ON CLUSTER '{cluster}'" if cluster and table in SHARDED else table


def statements(statement: str, cluster: str, database: str) -> list[str]:
    """What makes on a cluster what the statement makes on one server; without a cluster, the statement.

    Raises:
        Fatal: no rule here says how; the migration needs one.
    """
    if not cluster:
        return [statement]
    for form, rule in _RULES:
        if found := form.match(statement):
            return rule(statement, found, cluster, database)
    if statement.startswith("INSERT INTO "):
        return [statement]  # into and from the Distributed tables
    raise Fatal(f"no rule says how this is done on a cluster: {statement[:60]}")


def _create_table(statement: str, found: re.Match[str], cluster: str, database: str) -> list[str]:
    table = found["table"]
    if table not in SHARDED and table not in EVERYWHERE:
        raise Fatal(f"nothing says where the rows of {table} belong on a cluster")
    end = _closing(statement, found.end() - 1)
    columns, rest = statement[found.end() - 1 : end], statement[end:]
    engine = _ENGINE.match(rest)
    kind, arguments = (engine["name"], engine["arguments"]) if engine else ("MergeTree", None)
    rest = rest[engine.end() :] if engine else rest
    sharded = table in SHARDED
    # Tables that are whole on every node are one shard to Keeper.
    place, replica = ("{shard}", "{replica}") if sharded else ("everywhere", "{shard}-{replica}")
    path = f"'/clickhouse/tables/{place}/{database}/{table}', '{replica}'"
    replicated = f"Replicated{kind}({path}{', ' + arguments if arguments else ''})"
    name = f"{table}_local" if sharded else table
    made = [f"CREATE TABLE IF NOT EXISTS {name} ON CLUSTER '{cluster}' {columns} ENGINE = {replicated}{rest}"]
    if sharded:
        made.append(
            f"CREATE TABLE IF NOT EXISTS {table} ON CLUSTER '{cluster}' AS {name} "
            f"ENGINE = Distributed('{cluster}', '{database}', '{name}', {SHARDED[table]})"
        )
    return made


def _create_view(statement: str, found: re.Match[str], cluster: str, database: str) -> list[str]:
    return [_on_cluster(statement, found.end("view"), cluster)]


def _create_filled(statement: str, found: re.Match[str], cluster: str, database: str) -> list[str]:
    """Filled on each shard from what is inserted there: both tables are sharded alike."""
    after = statement[found.end() :]
    return [
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS {found['view']} ON CLUSTER '{cluster}' "
        f"TO {found['table']}_local {found['rest']}FROM {found['source']}_local{after}"
    ]


def _alter(statement: str, found: re.Match[str], cluster: str, database: str) -> list[str]:
    table, change = found["table"], found["change"]
    of_rows = f"ALTER TABLE {table}_local ON CLUSTER '{cluster}' {change}"
    if table in EVERYWHERE:
        return [_on_cluster(statement, found.end("table"), cluster)]
    # Columns are of both; projections, indexes and settings are of the table that has the rows.
    both = [of_rows, f"ALTER TABLE {table} ON CLUSTER '{cluster}' {change}"]
    return both if found["what"] == "COLUMN" else [of_rows]


def _drop(statement: str, found: re.Match[str], cluster: str, database: str) -> list[str]:
    """At once: its place in Keeper must be free for a table of the same name."""
    table = found["table"]
    names = [table, f"{table}_local"] if table in SHARDED else [table]
    return [f"DROP TABLE IF EXISTS {name} ON CLUSTER '{cluster}' SYNC" for name in names]


_RULES: Final = (
    (_CREATE_TABLE, _create_table),
    (_CREATE_VIEW, _create_view),
    (_CREATE_FILLED, _create_filled),
    (_ALTER, _alter),
    (_DROP, _drop),
)


def _on_cluster(statement: str, at: int, cluster: str) -> str:
    return f"{statement[:at]} ON CLUSTER '{cluster}'{statement[at:]}"


def _closing(statement: str, opening: int) -> int:
    """Behind the parenthesis that closes the one at `opening`; those in text do not count."""
    depth = 0
    for piece in _TEXT_OR_PAREN.finditer(statement, opening):
        depth += {"(": 1, ")": -1}.get(piece[0], 0)
        if not depth:
            return piece.end()
    raise Fatal(f"parentheses do not match: {statement[:60]}")
