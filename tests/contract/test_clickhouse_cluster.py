"""The tables of a cluster, made by ClickHouse's own engine: all of its parts but a second server.

The embedded engine has Keeper's stand-in for tests, so it makes the replicated tables, which it does not write
to. Data goes through the same statements with plain engines, into one shard of two, of which the other is away.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pactstream.clickhouse import cluster, migrate
from pactstream.errors import Fatal
from pactstream.settings import environment

CONFIG = """
<clickhouse>
  <zookeeper><implementation>testkeeper</implementation></zookeeper>
  <macros><shard>01</shard><replica>r1</replica></macros>
  <tcp_port>9000</tcp_port>
  <interserver_http_host>127.0.0.1</interserver_http_host>
  <interserver_http_port>9009</interserver_http_port>
  <distributed_ddl><path>/clickhouse/task_queue/ddl</path></distributed_ddl>
  <remote_servers><half>
    <shard><internal_replication>true</internal_replication>
      <replica><host>127.0.0.1</host><port>9000</port></replica></shard>
    <shard><internal_replication>true</internal_replication>
      <replica><host>127.0.0.2</host><port>9</port></replica></shard>
  </half></remote_servers>
</clickhouse>
"""
# Runs statements and prints their results, errors among them.
ENGINE = """
import json, os, sys
import chdb
engine = chdb.connect(sys.argv[1])
found = []
for statement in json.load(sys.stdin):
    try:
        found.append(str(engine.query(statement, "TSV")))
    except Exception as error:
        found.append("ERROR " + str(error)[:300])
print(json.dumps(found), flush=True)
os._exit(0)  # the engine is not made to be taken down with this configuration
"""
SETTINGS = (
    "SET distributed_foreground_insert = 1, optimize_skip_unused_shards = 1, "
    "distributed_product_mode = 'global', connections_with_failover_max_tries = 1"
)
BEGIN = ["CREATE DATABASE pactstream", "USE pactstream", SETTINGS]
NAME = "half"


def run(statements: list[str], tmp_path: Path) -> list[str]:
    """The engine's answers, in a process of its own."""
    config = tmp_path / "config.xml"
    config.write_text(CONFIG)
    command = [sys.executable, "-c", ENGINE, f"{tmp_path / 'data'}?config-file={config}"]
    text = json.dumps(BEGIN + statements)
    done = subprocess.run(
        command, input=text, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout, done.stderr
    answers: list[str] = json.loads(done.stdout)
    assert answers[: len(BEGIN)] == [""] * len(BEGIN)
    return answers[len(BEGIN) :]


def every_statement() -> list[str]:
    """All that `pactstream migrate` says to a cluster."""
    files = [migrate._RECORDS, *(one.sql for one in migrate.packaged())]
    return [
        made
        for sql in files
        for statement in migrate.statements(sql)
        for made in cluster.statements(statement, NAME, "pactstream")
    ]


def here(statement: str) -> str:
    """Without the queue by which servers tell each other of statements."""
    return statement.replace(f" ON CLUSTER '{NAME}'", "")


def plain(statement: str) -> str:
    """With engines that need no Keeper."""
    before, replicated, after = here(statement).partition("ENGINE = Replicated")
    if not replicated:
        return before
    kind, _, rest = after.partition("(")
    arguments, _, rest = rest.partition(")")
    return f"{before}ENGINE = {kind}({', '.join(arguments.split(', ')[2:])}){rest}"


def plain_tables() -> list[str]:
    """The tables to put rows into. What is copied between them would ask the shard that is away."""
    return [plain(one) for one in every_statement() if not one.startswith("INSERT")]


def test_the_engine_reads_every_statement_and_makes_every_table(tmp_path: Path) -> None:
    made = [one for one in every_statement() if one.startswith(("CREATE", "DROP"))]
    asked = [f"EXPLAIN AST {one}" for one in every_statement()]
    engines = "SELECT name, engine FROM system.tables WHERE database = 'pactstream' AND engine NOT LIKE '%View'"
    answers = run([*asked, *map(here, made), engines], tmp_path)
    assert [one for one in answers if one.startswith("ERROR")] == []
    assert all(answers[: len(asked)])
    found = dict(line.split("\t") for line in answers[-1].splitlines())
    replicated = {name for name, engine in found.items() if engine.startswith("Replicated")}
    assert replicated == {f"{one}_local" for one in cluster.SHARDED} | cluster.EVERYWHERE
    assert {name for name, engine in found.items() if engine == "Distributed"} == set(cluster.SHARDED)


def test_a_segment_goes_to_one_shard_once_and_queries_of_a_log_ask_only_it(tmp_path: Path) -> None:
    def segment(log: int) -> str:
        return (
            f"INSERT INTO ledger_segments (log, segment_index) SETTINGS insert_deduplication_token = '{log}/0' "
            f"VALUES ({log}, 0)"
        )

    of_log = "SELECT count() FROM ledger_segments WHERE log = {}"
    asked = [segment(0), segment(0), segment(1), of_log.format(0), of_log.format(1), of_log.format("log")]
    *answers, first, again, other, counted, away, everywhere = run([*plain_tables(), *asked], tmp_path)
    assert [one for one in answers if one.startswith("ERROR")] == []
    assert (first, again, counted) == ("", "", "1\n")
    # What belongs to the other shard waits for it, and so does what asks all.
    for one in (other, away, everywhere):
        assert one.startswith("ERROR")
        assert "127.0.0.2" in one


def test_an_agents_rows_are_together_and_the_newest_shows(tmp_path: Path) -> None:
    agents = [f"00000000-0000-4000-8000-{number:012}" for number in range(40)]
    hashes = "SELECT " + ", ".join(f"cityHash64(toUUID('{one}')) % 2" for one in agents)
    (shards,) = run([hashes], tmp_path)
    here_first = agents[shards.split("\t").index("0")]

    def score(through: int, at: str) -> str:
        return (
            "INSERT INTO scores (agent_id, day, nightly, through_sequence, computed_at) "
            f"VALUES ('{here_first}', '2026-05-13', false, {through}, '{at}')"
        )

    asked = [
        score(7, "2026-05-13 10:00:00"),
        score(9, "2026-05-13 11:00:00"),
        f"SELECT through_sequence FROM scores FINAL WHERE agent_id = '{here_first}'",
        f"SELECT max(through_sequence) FROM latest_scores WHERE agent_id = '{here_first}'",
    ]
    again = tmp_path / "again"
    again.mkdir()
    answers = run([*plain_tables(), *asked], again)
    assert [one for one in answers if one.startswith("ERROR")] == []
    assert answers[-2:] == ["9\n", "9\n"]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE IF NOT EXISTS unheard_of (a UInt8) ORDER BY a",
        "RENAME TABLE a TO b",
        "CREATE TABLE IF NOT",
    ],
)
def test_what_has_no_place_on_a_cluster_is_refused(statement: str) -> None:
    with pytest.raises(Fatal, match="cluster"):
        cluster.statements(statement, NAME, "pactstream")


def test_one_server_is_told_what_stands_in_the_files() -> None:
    files: list[Any] = [one.sql for one in migrate.packaged()]
    for statement in [found for sql in files for found in migrate.statements(sql)]:
        assert cluster.statements(statement, "", "pactstream") == [statement]
    assert cluster.local("room_event_payloads", "") == "room_event_payloads"
    assert cluster.local("room_event_payloads", NAME) == "room_event_payloads_local ON CLUSTER 'half'"
