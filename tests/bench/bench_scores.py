"""What scores cost: `python -m tests.bench.bench_scores [EVENTS]`.

Nightly: a million events in the real table, of 2,000 and then of 100,000 agents, over ninety days; seconds for
a whole night (counts, weighing, writing, regression watch), beside the largest query alone, and how much the
process grew. Live: leaves a second through the aggregator's task, beside merely parsing them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from pactstream import avro, clock
from pactstream.clickhouse import migrate
from pactstream.clickhouse.client import ClickHouse
from pactstream.kafka.records import Headers, Record
from pactstream.scores.leaves import parse_leaves
from pactstream.scores.tally import DAY_MICROS
from pactstream.settings import ClickHouseSettings
from score_aggregator import nightly
from score_aggregator.queries import sql
from score_aggregator.task import ScoreTask
from tests.score_tools import HOUR, KEPT, TODAY, batch, call
from tests.stack import ClickHouseAddress, choose_mode, docker_answers, running

LIVE_BATCHES, LIVE_AGENTS = 8_000, 200
_MIB = 1_048_576

# Events as the projector writes them: sessions of eight events, three tenants, leaves of 900 bytes.
_FILL = """
INSERT INTO room_events
    (log, leaf_index, event_id, type, agent_id, tenant, session_id, sequence, occurred_at, received_at, tool,
     outcome, latency_ms, token_count, bound, valid, severity, leaf)
SELECT
    0, number, generateUUIDv4(),
    multiIf(step = 0, 'session_start', step = 7, 'session_end', step = 6, 'response', 'tool_call') AS kind,
    toUUID(concat('00000000-0000-4000-8000-', leftPad(toString(agent), 12, '0'))),
    concat('tenant-', toString(agent % 3)), concat('s-', toString(intDiv(number, 8))),
    intDiv(number, 8 * {agents:UInt64}) * 8 + step + 1, at, at,
    if(kind = 'tool_call', concat('tool-', toString(step)), ''),
    multiIf(kind = 'session_start', '', rand(1) % 50 = 0, 'error', 'success'),
    if(kind IN ('tool_call', 'response'), rand(2) % 1000, NULL), if(kind = 'response', rand(3) % 3000, NULL),
    kind = 'tool_call', if(kind = 'tool_call', kept, NULL), if(kind = 'tool_call' AND NOT kept, 'critical', ''),
    concat('{"agentId":"', toString(agent), '","confidence":', toString(50 + rand(5) % 51),
           ',"objectives":{"latencyP95Ms":900,"model":"allowed","tokensPerSession":2000},"padding":"',
           repeat('x', 780), '"}')
FROM
(
    SELECT number, number % 8 AS step, intDiv(number, 8) % {agents:UInt64} AS agent, rand(4) % 100 != 0 AS kept,
           fromUnixTimestamp64Micro(toInt64({from:Int64} + intDiv(number * {window:UInt64}, {events:UInt64})))
               AS at
    FROM numbers({events:UInt64})
)
"""


def timed(what: Callable[[], object]) -> float:
    """Seconds it takes."""
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def worked(what: Callable[[], object]) -> float:
    """Seconds of this process's CPU that it takes."""
    started = time.process_time()
    what()
    return time.process_time() - started


def night(where: ClickHouseAddress, events: int, agents: int) -> None:
    """One night over so many events of so many agents."""
    settings = ClickHouseSettings(
        clickhouse_host=where.host,
        clickhouse_port=where.port,
        clickhouse_user=where.user,
        clickhouse_password=where.password,
        clickhouse_database=f"bench_scores_{agents}",
    )
    migrate.apply(settings)
    window = 89 * DAY_MICROS
    parameters = {"agents": agents, "events": events, "from": (TODAY - 89) * DAY_MICROS, "window": window}
    with ClickHouse(settings) as database:
        database.command(_FILL, parameters)
        asked = {"from": (TODAY - 90) * DAY_MICROS, "to": TODAY * DAY_MICROS}

        def query() -> None:
            with database.stream(sql("evidence"), asked) as rows:
                for _ in rows:
                    pass

        bare = timed(query)
        memory = psutil.Process().memory_info
        before = memory().rss
        seconds = timed(lambda: nightly.run(database, TODAY))
        grown = (memory().rss - before) / _MIB
        ((scored,),) = database.rows("SELECT count() FROM scores FINAL WHERE nightly")
        database.command(f"DROP DATABASE {settings.clickhouse_database} SYNC")
    print(
        f"nightly, {events:,} events of {scored:,} agents: {seconds:.1f} s ({events / seconds:,.0f} events/s); "
        f"the largest query alone {bare:.1f} s, ratio {seconds / bare:.1f}; the process grew by {grown:.0f} MiB"
    )


def live() -> None:
    """Leaves a second through the task, against parsing alone."""
    leaves = [
        call(KEPT, latencyMs=12.5, confidence=90, tool=f"tool-{n % 5}", objectives={"latencyP95Ms": 100})
        for n in range(25)
    ]
    records: list[Record] = []
    for n in range(LIVE_BATCHES):
        agent = f"00000000-0000-4000-8000-{n % LIVE_AGENTS:012}"
        at = (TODAY - 30 + n * 30 // LIVE_BATCHES) * DAY_MICROS + n % 24 * HOUR
        records.append(batch(n // LIVE_AGENTS * 25 + 1, leaves, agent, received=at))

    def parse() -> None:
        for record in records:
            parse_leaves(avro.decode_as("EvaluatedBatch", record.value))

    def nowhere(
        topic: str, key: bytes, value: bytes | None, *, partition: int | None = None, headers: Headers = ()
    ) -> None:
        return None

    def score() -> None:
        task = ScoreTask(1)
        for n, record in enumerate(records, 1):
            task.process(record, nowhere)
            if n % 200 == 0:  # as in a transaction of 5,000 events
                task.flush(nowhere)

    clock.now_micros = lambda: TODAY * DAY_MICROS + 23 * HOUR
    events = LIVE_BATCHES * 25
    bare, full = worked(parse), worked(score)
    print(
        f"live, {events:,} leaves of {LIVE_AGENTS} agents: {events / full:,.0f} leaves/s of CPU; "
        f"parsing alone {events / bare:,.0f}, ratio {bare / full:.2f}"
    )


def main() -> None:
    """Run and print."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    mode = choose_mode({}, docker_answers)
    with tempfile.TemporaryDirectory() as directory, running(mode, Path(directory)) as stack:
        for agents in (2_000, 100_000):
            night(stack.clickhouse, events, agents)
    live()


if __name__ == "__main__":
    main()
