"""From a gateway's acknowledgement to the trust report reflecting the event: `make bench-latency`.

One event at a time, for agents in turn, at a steady rate; the report of that agent is then polled until both
its score and its ledger head include the event. The time to fetch is part of the figure, as it is for a
counterparty; so is the report's one-second cache.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pactstream import clock
from pactstream.demo import reflected
from pactstream.devstack.services import Services
from pactstream.devstack.stack import Stack
from tests.pipeline import TestAgent, new_agent, pipeline
from tests.stack import ClickHouseAddress

AGENTS = 4
EVENTS = 400
EVENTS_PER_SECOND = 4.0
TARGET_P99_SECONDS = 2.0
_POLL_SECONDS = 0.05


def main() -> int:
    """Print the percentiles; exit code 1 when p99 is beyond the target."""
    with tempfile.TemporaryDirectory() as directory, Stack(Path(directory, "stack")) as stack:
        database = ClickHouseAddress(stack.clickhouse_host, stack.clickhouse_port, "default", "", "pactstream")
        # The poller is one address; a counterparty asks far less often.
        limit = {"PACTSTREAM_ORACLE_REQUESTS_PER_MINUTE": "100000"}
        with pipeline(stack.kafka_bootstrap, database, "", Path(directory, "services"), **limit) as services:
            agents = [new_agent(services) for _ in range(AGENTS)]
            with ThreadPoolExecutor(AGENTS) as pool:
                measured = list(pool.map(lambda agent: _measure(services, agent), agents))
    seconds = sorted(one for some in measured for one in some)
    p50, p99 = statistics.median(seconds), seconds[int(len(seconds) * 0.99)]
    sys.stdout.write(
        f"acknowledgement to trust report, {len(seconds)} events of {AGENTS} agents: "
        f"p50 {p50:.2f} s, p99 {p99:.2f} s, max {seconds[-1]:.2f} s (target: p99 {TARGET_P99_SECONDS:g} s)\n"
    )
    return 0 if p99 < TARGET_P99_SECONDS else 1


def _measure(services: Services, agent: TestAgent) -> list[float]:
    """The seconds of each event of one agent."""
    seconds = []
    with agent.telemetry(services, batch_size=1) as telemetry:
        for sequence in range(1, EVENTS // AGENTS + 1):
            due = clock.monotonic_seconds() + AGENTS / EVENTS_PER_SECOND
            telemetry.tool_call(tool="get_balance", params={"account": "treasury-main"}, session_id="s")
            telemetry.flush(30)
            acknowledged = clock.monotonic_seconds()
            while reflected(services, agent.agent_id) < sequence:
                time.sleep(_POLL_SECONDS)
            seconds.append(clock.monotonic_seconds() - acknowledged)
            time.sleep(max(0.0, due - clock.monotonic_seconds()))
    return seconds


if __name__ == "__main__":
    sys.exit(main())
