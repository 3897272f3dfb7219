"""The console's first view on a million events: `python -m tests.bench.bench_console [ROWS]`.

All services on the tests' stack, and rows of 50 agents over the last day, half of them the tenant's that
looks. In Chromium, logged in, each view is opened anew ten times with an empty cache: from the start of the
navigation until its first row is there.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

from playwright.sync_api import Browser

from pactstream import atlas
from pactstream.clickhouse.client import ClickHouse
from tests.bench.figures import report
from tests.browsers import DESK, chromium
from tests.console_stack import ConsoleStack, console_stack
from tests.stack import choose_mode, docker_answers, fresh_database, fresh_prefix, running

_ROUNDS: Final = 10
_AGENTS: Final = 50
_FILL: Final = """
INSERT INTO room_events (log, leaf_index, event_id, type, agent_id, tenant, session_id, sequence,
    occurred_at, received_at, tool, outcome, latency_ms, bound, valid, severity,
    violations.param_path, violations.rule, violations.severity, leaf_hash)
WITH number % {agents:UInt64} AS agent, intDiv(number, {agents:UInt64}) AS k, number % 97 = 0 AS wrong,
    now64(6) - toIntervalMicrosecond(toUInt64((1 - number / {rows:UInt64}) * 86400e6)) AS at
SELECT 0, 1000000 + number, toUUID(concat('00000000-0000-0000-0001-', leftPad(hex(number), 12, '0'))),
    'tool_call',
    if(agent = 0, {agent:UUID}, toUUID(concat('00000000-0000-0000-0000-', leftPad(hex(agent), 12, '0')))),
    if(agent % 2 = 0, {tenant:String}, 'another'),
    concat('session-', toString(agent), '-', toString(intDiv(k, 8))), 1000 + k, at, at, 'transfer_funds',
    if(number % 50 = 0, 'error', 'success'), 12.5, true, NOT wrong,
    if(wrong, 'critical', ''), if(wrong, ['destination'], []), if(wrong, ['allowList'], []),
    if(wrong, ['critical'], []), unhex(repeat('00', 32))
FROM numbers({rows:UInt64})
"""
_TENANT: Final = "SELECT any(tenant) FROM room_events WHERE agent_id = {agent:UUID} AND type = 'tool_call'"
_VIEWS: Final = {
    "first view": ("", ".stream .event:nth-child(30)"),
    "an agent": (f"/agents/{atlas.AGENT_ID}", "main svg"),
    "violations only": ("?verdict=violated", ".stream .event"),
}
_SEEN: Final = """
const look = () => {
  if (document.querySelector(WANTED)) requestAnimationFrame(() => { window.seenAt ??= performance.now(); });
  else requestAnimationFrame(look);
};
look();
"""
_TOLD: Final = """
new Promise(tell => {
  const ask = () => { if (window.seenAt) tell(window.seenAt); else requestAnimationFrame(ask); };
  ask();
})
"""
"""Milliseconds from the start of the navigation to the frame with what is wanted."""


def fill(console: ConsoleStack, rows: int) -> None:
    """Put the rows where the sealer's would be."""
    with ClickHouse(console.services.clickhouse) as database:
        ((tenant,),) = database.rows(_TENANT, {"agent": atlas.AGENT_ID})
        whose = {"agent": atlas.AGENT_ID, "tenant": tenant, "agents": _AGENTS, "rows": rows}
        database.command(_FILL, whose)


def opened(browser: Browser, console: ConsoleStack, path: str, first: str) -> float:
    """Seconds until the view's first row is there, in a profile with the session's cookie and nothing else."""
    with browser.new_context(viewport=DESK) as context:
        own = {"Origin": console.url.removesuffix("/console"), "X-Console": "1"}
        answer = context.request.post(f"{console.url}/api/session", data={"key": console.key}, headers=own)
        if not answer.ok:
            raise RuntimeError(f"no login: {answer.text()}")
        page = context.new_page()
        # Seen from inside: Playwright's own looking takes a third of a second.
        page.add_init_script(_SEEN.replace("WANTED", json.dumps(first)))
        page.goto(console.url + path, wait_until="commit")
        page.wait_for_selector(first)
        return float(page.evaluate(_TOLD)) / 1_000


def main() -> None:
    """Start everything, fill it, and look."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as directory:
        mode = choose_mode(os.environ, docker_answers)
        with (
            running(mode, Path(directory) / "stack") as stack,
            fresh_database(stack) as database,
            console_stack(
                stack.kafka_bootstrap, database, fresh_prefix(), Path(directory) / "console"
            ) as console,
            chromium() as browser,
        ):
            fill(console, rows)
            for name, (path, first) in _VIEWS.items():
                opened(browser, console, path, first)  # ClickHouse's caches
                seconds = sorted(opened(browser, console, path, first) for _ in range(_ROUNDS))
                load = os.getloadavg()[0]
                figure = f"median {median(seconds):.2f} s, worst {seconds[-1]:.2f} s, load average {load:.0f}"
                report(f"console, {rows:,} events, {name}", figure, target="< 1 s")


if __name__ == "__main__":
    main()
