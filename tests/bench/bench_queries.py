"""The dashboards' queries on many rows, with projections and without.

`python -m tests.bench.bench_queries [ROWS]`.

Rows are synthetic: 200 agents over seven days, sessions of eight events, one call in 97 violates. The range
asked for is all seven days, so every row counts. ClickHouse runs in this process (chdb).
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import chdb

from pactstream.clickhouse.migrate import packaged, statements

QUERIES: Final = Path(__file__).parents[2] / "docs" / "queries"
DAYS, AGENTS = 7, 200
# Samples of the oracle are kept for three months: the days must be recent ones.
TO: Final = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
FROM: Final = f"{TO - timedelta(days=DAYS):%Y-%m-%d %H:%M:%S}"
PARAMETERS: Final = {"from": FROM, "to": f"{TO:%Y-%m-%d %H:%M:%S}", "step": "3600"}
PANELS: Final = (
    "session_health",
    "session_rates",
    "pact_compliance",
    "compliance_over_time",
    "compliance_of_all",
    "oracle_health",
    "oracle_over_time",
)
_MILLION: Final = 1_000_000
_ROUNDS: Final = 3
_FILL: Final = """
INSERT INTO room_events (log, leaf_index, event_id, type, agent_id, tenant, session_id, sequence,
    occurred_at, received_at, tool, outcome, latency_ms, pact_id, pact_version, bound, valid, severity,
    violations.param_path, violations.rule, violations.severity, leaf_hash)
WITH number % {agents} AS agent, intDiv(number, {agents}) AS k, k % 8 AS place,
    multiIf(place = 0, 'session_start', place = 7, 'session_end', place = 6, 'response', 'tool_call') AS kind,
    kind = 'tool_call' AS called, called AND number % 97 = 0 AS wrong,
    toDateTime64('{start}', 6, 'UTC')
        + toIntervalMicrosecond(toUInt64(number * {days} * 86400e6 / {rows})) AS at
SELECT 0, number, toUUID(concat('00000000-0000-0000-0001-', leftPad(hex(number), 12, '0'))), kind,
    toUUID(concat('00000000-0000-0000-0000-', leftPad(hex(agent), 12, '0'))), toString(agent % 20),
    concat('session-', toString(agent), '-', toString(intDiv(k, 8))), k + 1, at, at,
    if(called, 'transfer_funds', ''),
    multiIf(place = 0, '', number % 50 = 0, 'error', 'success'), 12.5,
    if(called, toUUID('00000000-0000-0000-0002-000000000001'), NULL), if(called, 1, NULL), called,
    if(called, NOT wrong, NULL), if(wrong, 'critical', ''),
    if(wrong, [concat('path', toString(number % 7))], []), if(wrong, ['maxAmount'], []),
    if(wrong, ['critical'], []),
    unhex(repeat('00', 32))
FROM numbers({first}, {count})
"""
_SAMPLES: Final = """
INSERT INTO oracle_samples SELECT concat('oracle-', toString(number % 3)),
    toDateTime64('{start}', 6, 'UTC') + toIntervalSecond(intDiv(number, 3) * 10), 10, 100, 1,
    [90, 5, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0], 1, 0, 0.8 FROM numbers({days} * 8640 * 3)
"""


def filled(connection: Any, rows: int) -> Iterator[str]:
    """Makes the tables and fills them a million rows at a time; yields what to say meanwhile."""
    connection.query("CREATE DATABASE bench ENGINE = Atomic")
    connection.query("USE bench")
    for migration in packaged():
        for statement in statements(migration.sql):
            connection.query(statement)
    for first in range(0, rows, _MILLION):
        count = min(_MILLION, rows - first)
        connection.query(
            _FILL.format(agents=AGENTS, start=FROM, days=DAYS, rows=rows, first=first, count=count)
        )
        yield f"{first + count:,} rows"
    connection.query(_SAMPLES.format(start=FROM, days=DAYS))


def asked(connection: Any, name: str, projections: bool) -> tuple[float, float, int]:
    """The best of three, in seconds of all cores' time and of wall clock, and the rows read."""
    sql = (QUERIES / f"{name}.sql").read_text(encoding="utf-8")
    connection.query(f"SET optimize_use_projections = {int(projections)}")
    cpu, wall, read = float("inf"), float("inf"), 0
    for _ in range(_ROUNDS):
        begun, begun_cpu = time.perf_counter(), time.process_time()
        result = connection.query(sql, "TSV")
        cpu = min(cpu, time.process_time() - begun_cpu)
        wall, read = min(wall, time.perf_counter() - begun), result.storage_rows_read()
    return cpu, wall, read


def report(connection: Any) -> None:
    """Print a line for each panel."""
    parameters = ", ".join(f"param_{name} = '{value}'" for name, value in PARAMETERS.items())
    connection.query(f"SET {parameters}")
    print(f"{'':22}{'without projections':>34}{'with projections':>34}")
    print(f"{'panel':22}" + 2 * f"{'CPU s':>8}{'wall s':>10}{'rows read':>16}")
    for name in PANELS:
        figures = (asked(connection, name, False), asked(connection, name, True))
        print(f"{name:22}" + "".join(f"{cpu:>8.2f}{wall:>10.2f}{read:>16,}" for cpu, wall, read in figures))


def main() -> None:
    """Fill a database and ask."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10 * _MILLION
    with tempfile.TemporaryDirectory() as directory, closing(chdb.connect(directory)) as connection:
        for line in filled(connection, rows):
            print(f"\r{line}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        report(connection)


if __name__ == "__main__":
    main()
