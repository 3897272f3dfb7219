"""What a journal costs who sends, and comparing it with a ledger: `python -m tests.bench.bench_journal`.

CPU time, so that other processes do not count; memory as the most that this process ever held, less before.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from contextlib import closing
from pathlib import Path

from pactstream import clock
from pactstream.journal.comparison import Comparison
from pactstream.journal.entry import entry_of
from pactstream.journal.journal import Journal
from tests.bench.figures import report
from tests.evaluator_tools import AGENT
from tests.journal_tools import event_id, leaves_of, sent

BATCH = 25
NOTED = 5_000
CALL = {"destination": "0xA11A", "amount": 250, "currency": "USDC"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=400_000)
    events = parser.parse_args().events
    event = sent(1, params=CALL, latencyMs=12.5, sessionId="sess-2026-05-13-0042")
    with tempfile.TemporaryDirectory() as directory:
        _note(Path(directory) / "noted", json.dumps(event).encode(), event["eventId"])
        path = Path(directory) / "large"
        line = entry_of(json.dumps(event).encode(), event["eventId"], clock.now_micros()).line()
        with path.open("wb") as file:
            for number in range(events):
                file.write(line.replace(event_id(1).encode(), event_id(number).encode()) + b"\n")
        report("journal: a line", f"{len(line) + 1} bytes")
        _compare(path, leaves_of(event)[0], events)


def _note(path: Path, event: bytes, name: str) -> None:
    journal = Journal(path, 1 << 30)
    before = time.process_time()
    for _ in range(NOTED // BATCH):
        journal.note([(event, name)] * BATCH, clock.now_micros())
    report("journal: noting an event", f"{_micros(before, NOTED):.0f} µs", target="the sending thread's")


def _compare(path: Path, leaf: bytes, events: int) -> None:
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with closing(Comparison()) as comparison:
        before = time.process_time()
        comparison.read(path)
        report("verify sent: an entry", f"{_micros(before, events):.1f} µs")
        before = time.process_time()
        for number in range(events):
            comparison.leaf(
                "dev/ledger/0", number, leaf.replace(event_id(1).encode(), event_id(number).encode())
            )
        report("verify sent: a leaf of the journal's", f"{_micros(before, events):.1f} µs")
        another = leaf.replace(AGENT.encode(), b"76cf31d7" + AGENT[8:].encode())
        before = time.process_time()
        for number in range(events):
            comparison.leaf("dev/ledger/0", number, another)
        report("verify sent: a leaf of another agent", f"{_micros(before, events):.1f} µs")
        if comparison.tally(clock.now_micros()).events != events:
            raise RuntimeError("not all entries were read")
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held
    report(f"verify sent: memory, {events:,} entries", f"{more / 1024:.0f} MiB", target="64 MiB of cache")


def _micros(before: float, count: int) -> float:
    return (time.process_time() - before) / count * 1e6


if __name__ == "__main__":
    main()
