"""How fast the oracle answers: `python -m tests.bench.bench_oracle [rows [seconds]]`.

A real oracle process on a real ClickHouse that holds `rows` ledger rows (a million by default) of 2,000 agents.

- *Cached*: one agent asked again and again, through wrk (Debian's), one thread and 32 connections; the peer is
  a bare route on the same server: no limits, no metrics, no headers, the same body. What counts is requests for
  each CPU second of the process, user and system, so that wrk and the neighbours do not.
- *Cold*: agents nobody asked for before, one after another: ClickHouse read, report built and signed twice.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import httpx
import psutil

from oracle_api.settings import OracleSettings
from pactstream.clickhouse.client import ClickHouse
from tests.oracle_process import free_port, oracle, prepared
from tests.oracle_tools import ATLAS, History, atlas_day
from tests.stack import StackAddresses, choose_mode, docker_answers, eventually, fresh_database, running

AGENTS = 2_000
COLD = 400
CONNECTIONS = 32
UNLIMITED = {"oracle_requests_per_minute": 100_000_000, "oracle_burst": 100_000_000}

FILL = """
INSERT INTO room_events (log, leaf_index, event_id, type, agent_id, tenant, session_id, sequence, occurred_at,
    received_at, tool, outcome, latency_ms, bound, valid, severity, `violations.param_path`, `violations.rule`,
    `violations.severity`, leaf, leaf_hash)
SELECT 1, number, generateUUIDv4(number), 'tool_call',
    toUUID(concat('00000000-0000-4000-8000-', leftPad(lower(hex(number % {agents:UInt64})), 12, '0'))),
    'tenant-1', 'sess', intDiv(number, {agents:UInt64}) + 1, now64(6), now64(6), 'pay', 'success', 10, 1,
    number % 50 != 0, if(number % 50 = 0, 'minor', ''), if(number % 50 = 0, ['amount'], []),
    if(number % 50 = 0, ['maxAmount'], []), if(number % 50 = 0, ['minor'], []), toString(number),
    SHA256(toString(number))
FROM numbers({rows:UInt64})
"""

# A live and a nightly score a day.
SCORES = """
INSERT INTO scores SELECT
    toUUID(concat('00000000-0000-4000-8000-', leftPad(lower(hex(number % {agents:UInt64})), 12, '0'))),
    today() - intDiv(number, 2 * {agents:UInt64}) AS day, intDiv(number, {agents:UInt64}) % 2,
    500 - 10 * intDiv(number, 2 * {agents:UInt64}) AS sequence, toDateTime64(day, 6, 'UTC') AS at, at, at,
    100, sequence, sequence, sequence - 10, map('minor', 10), 80.5, 805, 0.6, 65, 'silver', 100, 2,
    arrayMap(n -> concat('dimension-', toString(n)), range(12)), arrayMap(n -> 8.3, range(12)),
    arrayMap(n -> if(n % 3 = 0, NULL, 80.123456789), range(12)), arrayMap(n -> 0.5, range(12)),
    arrayMap(n -> 99.9, range(12)),
    arrayMap(n -> '{"good":98.123456,"bad":2.123456,"tenants":1}', range(12)), [], [], [], [], [], [], []
FROM numbers({rows:UInt64})
"""
NIGHTS = 30

BARE = """
import sys
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from pactstream import server
body = open(sys.argv[2], "rb").read()
async def bare(request):
    return Response(body, media_type="application/json")
server.serve(Starlette(routes=[Route("/{id}", bare)]), "127.0.0.1", int(sys.argv[1]))
"""


def agent(number: int) -> UUID:
    return UUID(f"00000000-0000-4000-8000-{number:012x}")


def fill(database: ClickHouse, rows: int) -> None:
    """The ledger of log 1, sealed, and a month of scores."""
    database.command(FILL, {"agents": AGENTS, "rows": rows})
    database.command(SCORES, {"agents": AGENTS, "rows": 2 * NIGHTS * AGENTS})
    columns = ("log", "segment_index", "first_leaf", "leaves", "tree_size", "checkpoint", "sealed_at")
    database.insert("ledger_segments", columns, [(1, 0, 0, rows, rows, "note\n", 0)])


def rate(url: str, seconds: int, process: psutil.Process) -> tuple[float, float]:
    """Requests for each CPU second of the process, and for each second of the clock on the wall."""
    before = sum(process.cpu_times()[:2])
    done = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url], capture_output=True, text=True, check=True
    )
    used = sum(process.cpu_times()[:2]) - before
    count = re.search(r"(\d+) requests in", done.stdout)
    if count is None or "Non-2xx" in done.stdout:
        raise AssertionError(done.stdout)
    return int(count[1]) / used, int(count[1]) / seconds


@contextmanager
def bare(body: bytes, directory: Path) -> Iterator[tuple[str, int]]:
    """A server with one route that gives these bytes: its address and process id."""
    port = free_port()
    (directory / "body").write_bytes(body)
    started = subprocess.Popen([sys.executable, "-c", BARE, str(port), str(directory / "body")])
    url = f"http://127.0.0.1:{port}/x"
    try:
        eventually(lambda: answers(url), timeout=20)
        yield url, started.pid
    finally:
        started.terminate()
        started.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def cold(url: str) -> list[float]:
    """Milliseconds of each first question, agents in a scattered order."""
    taken = []
    with httpx.Client(trust_env=False, timeout=30) as client:
        client.get(f"{url}/api/v1/trust/{agent(0)}").raise_for_status()
        for number in range(1, COLD + 1):
            began = time.perf_counter()
            client.get(f"{url}/api/v1/trust/{agent(number * 997 % AGENTS)}").raise_for_status()
            taken.append(1_000 * (time.perf_counter() - began))
    return taken


def settings(addresses: StackAddresses, directory: Path) -> Iterator[OracleSettings]:
    with fresh_database(addresses) as where:
        yield prepared(addresses.kafka_bootstrap, "bench-", where, directory, **UNLIMITED)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    mode = choose_mode(os.environ, docker_answers)
    with tempfile.TemporaryDirectory() as name, running(mode, Path(name) / "stack") as addresses:
        for ours in settings(addresses, Path(name)):
            with ClickHouse(ours) as database:
                History(database).tell(atlas_day())
                began = time.perf_counter()
                fill(database, rows)
                print(
                    f"{rows:,} ledger rows of {AGENTS:,} agents written in {time.perf_counter() - began:.0f} s"
                )
            report(ours, seconds, Path(name))


def report(ours: OracleSettings, seconds: int, directory: Path) -> None:
    with oracle(ours) as (url, process):
        began = sum(psutil.Process(process.pid).cpu_times()[:2])
        taken = cold(url)
        used = 1_000 * (sum(psutil.Process(process.pid).cpu_times()[:2]) - began) / len(taken)
        p50, p99 = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
        print(f"cold report, {len(taken)} agents: p50 {p50:.1f} ms, p99 {p99:.1f} ms (aim: p99 below 25)")
        print(f"of that, the oracle's own CPU: {used:.1f} ms; the rest is ClickHouse and waiting for a core")
        trust = f"{url}/api/v1/trust/{ATLAS}"
        body = httpx.get(trust, trust_env=False).content
        json.loads(body)
        with bare(body, directory) as (plain, pid):
            for _ in range(2):  # the first warms up
                ours_cpu, ours_wall = rate(trust, seconds, psutil.Process(process.pid))
                bare_cpu, bare_wall = rate(plain, seconds, psutil.Process(pid))
        print(f"cached report of {len(body):,} bytes: {ours_cpu:,.0f} requests a CPU second (aim: 6,000)")
        print(f"bare route, same server and bytes: {bare_cpu:,.0f}; ratio {ours_cpu / bare_cpu:.2f} (aim: 0.5)")
        print(f"by the clock on the wall, wrk beside them: {ours_wall:,.0f} and {bare_wall:,.0f}")


if __name__ == "__main__":
    main()
