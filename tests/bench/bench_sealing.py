"""Sealing, rows and tiles without Kafka, ClickHouse and disk: `python -m tests.bench.bench_sealing [LEAVES]`.

The same code as `bench_sealer` in one thread, up to a million leaves unless told otherwise, quick enough for
ten: whether the cost of a leaf or the memory grows with the log. What is left out costs each leaf the same.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from ledger_sealer import rows
from ledger_sealer.published import PublishedSegment, read_segment
from ledger_sealer.sealer import Log, SealerTask
from pactstream.kafka import topics
from pactstream.kafka.records import Headers, Record
from pactstream.ledger.publisher import LogPublisher, Sealed
from pactstream.ledger.tiles import Missing, Published
from pactstream.signing.keys import create_keys
from tests.bench.bench_sealer import BATCH, DIFFERENT
from tests.sealer_tools import Evaluated

_SEGMENT_RECORDS = 205
ORIGIN = "bench.example/ledger/0"


class Nowhere:
    """A `publisher.Store` that keeps the checkpoint only."""

    def __init__(self) -> None:
        self.checkpoint: bytes | None = None

    def fetch(self, path: str) -> bytes:
        raise Missing(path)

    def put(self, files: Iterable[Published]) -> None:
        for _ in files:
            pass

    def replace_checkpoint(self, old: bytes | None, new: bytes) -> None:
        self.checkpoint = new

    def prune(self, paths: Iterable[str]) -> None:
        for _ in paths:
            pass


class Loops:
    """The sealer's three loops, one segment after another."""

    def __init__(self, keys: Path) -> None:
        (key,) = create_keys(keys, "ledger")
        signer = key.note_signer(ORIGIN)
        self._sealer = SealerTask(Log(0, ORIGIN, signer))
        self._publisher = LogPublisher(ORIGIN, lambda: [signer.verifier], Nowhere())
        self._segments: list[PublishedSegment] = []

    def seal(self, records: list[Record]) -> None:
        """Seal, project and publish these records as a segment."""
        for record in records:
            self._sealer.process(record, self._emit)
        self._sealer.flush(self._emit)
        (segment,) = self._segments
        self._segments.clear()
        values = [record.value for record in records]
        rows.rows_of(segment, rows.sealed_events(segment.header, values))
        leaves = [event["leaf"] for event in rows.sealed_events(segment.header, values)]
        self._publisher.publish([Sealed(segment.header_bytes, segment.note, leaves)])

    def _emit(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: Headers = (),
    ) -> None:
        if topic == topics.CHECKPOINTS:
            self._segments.append(read_segment(value))


def main() -> None:
    """Run and print a line for each decade."""
    leaves = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    process = psutil.Process()
    values = itertools.cycle([value for _, value in Evaluated().batches(DIFFERENT, agents=BATCH, size=BATCH)])
    print(f"{'leaves':>12}{'CPU µs a leaf':>16}{'RSS MB':>9}")
    with tempfile.TemporaryDirectory() as directory:
        loops = Loops(Path(directory) / "keys")
        done = last = offset = 0
        cpu, target = time.process_time(), 10_000
        while done < leaves:
            count = min(_SEGMENT_RECORDS, -(-(min(target, leaves) - done) // BATCH))
            topic = topics.EVALUATED
            loops.seal([Record(topic, 0, offset + at, b"", next(values)) for at in range(count)])
            offset, done = offset + count, done + count * BATCH
            if done >= min(target, leaves):
                now = time.process_time()
                micros = (now - cpu) / (done - last) * 1e6
                print(f"{done:12,}{micros:16.1f}{process.memory_info().rss / 1e6:9.0f}", flush=True)
                cpu, last, target = now, done, target * 10


if __name__ == "__main__":
    main()
