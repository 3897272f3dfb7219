"""Makes the ledger's tables again in another database: `python -m ledger_sealer.rebuild [--from URL|DIR]`.

Segments come from `ledger.checkpoints`, which keeps all of them; their events from `telemetry.evaluated`, or,
past its retention, from the published files, which have no private values. Nothing is read from the tables in
use and nothing is written to them, so this is safe beside running services. Run again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from confluent_kafka import KafkaException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ledger_sealer import pacts_table, rows
from ledger_sealer.batch import Event
from ledger_sealer.projector import segments_in
from ledger_sealer.published import PublishedSegment, read_segment
from ledger_sealer.segment_source import PastRetention, SegmentSource
from pactstream import settings, worker
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import Fatal, InvalidInput, PactstreamError
from pactstream.kafka import topics
from pactstream.kafka.faults import classify
from pactstream.kafka.scan import partitions, scan
from pactstream.ledger.leaf import parse_leaf
from pactstream.ledger.note import Checkpoint, parse_note
from pactstream.ledger.segment import SegmentHeader
from pactstream.ledger.tile_reader import TileReader
from pactstream.ledger.tiles import CHECKPOINT, TILE_WIDTH, Fetch
from pactstream.ledger.verification import source


class RebuildSettings(settings.KafkaSettings, settings.ClickHouseSettings):
    """Where the topics are, and the database to fill."""


@dataclass(slots=True)
class Rebuilt:
    """What a run wrote."""

    segments: int = 0
    leaves: int = 0
    leaves_without_values: int = 0


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Fills `database` from the topics of `settings` and, where those no longer reach, from `published`.

    `on_progress(leaves done, leaves in all)` is called after each segment.
    """

    settings: settings.KafkaSettings
    database: ClickHouse
    published: Fetch | None = None
    on_progress: Callable[[int, int], None] = lambda done, total: None
    result: Rebuilt = field(default_factory=Rebuilt)

    def run(self) -> Rebuilt:
        """Write what is sealed by now and every version of every pact.

        Raises:
            Fatal: records are past their retention and there are no published files, or these are of another
                log; no such table; not authorised.
            Retryable: Kafka or ClickHouse does not answer.
        """
        for record, _ in scan(self.settings, topics.PACTS, {0: 0}):
            pacts_table.project(self.database, record.value)
        logs = partitions(self.settings, topics.CHECKPOINTS)
        ends = {log: self._last_header(log) for log in logs}
        total = sum(header.tree_size for header in ends.values() if header is not None)
        done = 0
        for log in logs:
            for header in self._log(log):
                done += header.leaves
                self.on_progress(done, total)
        return self.result

    def _log(self, log: int) -> Iterator[SegmentHeader]:
        """Write one log; yields each of its segments when it is in the tables."""
        due = segments_in(self.database, log)
        reader = SegmentSource(self.settings, log)
        files = None if self.published is None else _Files(self.published, log, self._segments(log))
        try:
            for segment in self._segments(log):
                if segment.header.index >= due:
                    self._write(segment, reader, files)
                yield segment.header
        except KafkaException as error:
            raise classify(error) from error
        finally:
            reader.close()

    def _write(self, segment: PublishedSegment, reader: SegmentSource, files: _Files | None) -> None:
        header = segment.header
        try:
            events = rows.sealed_events(header, reader.read(header))
        except PastRetention as error:
            if files is None:
                raise Fatal(f"{error}; take it from the published files: --from") from None
            events = files.events(header)
            self.result.leaves_without_values += len(events)
        rows.write(self.database, header, rows.rows_of(segment, events))
        self.result.segments += 1
        self.result.leaves += len(events)

    def _segments(self, log: int) -> Iterator[PublishedSegment]:
        return (read_segment(record.value) for record, _ in scan(self.settings, topics.CHECKPOINTS, {log: 0}))

    def _last_header(self, log: int) -> SegmentHeader | None:
        header = None
        for segment in self._segments(log):
            header = segment.header
        return header


class _Files:
    """The leaves of one log as published. Believed because their tree is one that Kafka has a segment of."""

    def __init__(self, fetch: Fetch, log: int, segments: Iterator[PublishedSegment]) -> None:
        self._log = log
        self._fetch = fetch
        self._segments = segments
        self._reader: TileReader | None = None
        self._bundle = -1
        self._entries: list[bytes] = []

    def events(self, header: SegmentHeader) -> list[Event]:
        """The events of a segment, without openings. Raises `Fatal` when the files have not this log's."""
        try:
            return [self._event(index) for index in range(header.first_leaf, header.tree_size)]
        except InvalidInput as error:
            raise Fatal(
                f"segment {header.index} of {header.origin} is not in the published files: {error}"
            ) from error

    def _event(self, index: int) -> Event:
        bundle, at = divmod(index, TILE_WIDTH)
        reader = self._opened()
        if bundle != self._bundle:
            self._bundle, self._entries = bundle, reader.entries(bundle)
        if at >= len(self._entries):
            raise InvalidInput(f"leaf {index} is not published yet")
        entry = self._entries[at]
        leaf = parse_leaf(entry)
        return {"event_id": leaf.event_id, "sequence": leaf.sequence, "leaf": entry, "private": None}

    def _opened(self) -> TileReader:
        if self._reader is None:
            note = parse_note(self._fetch(f"ledger/{self._log}/{CHECKPOINT}"))
            checkpoint = Checkpoint.parse(note.text)
            sealed = [one.header.root for one in self._segments if one.header.tree_size == checkpoint.size]
            if sealed != [checkpoint.root.hex()]:
                raise InvalidInput("the published checkpoint closes no segment of this log")
            self._reader = TileReader(
                lambda path: self._fetch(f"ledger/{self._log}/{path}"), checkpoint.size, checkpoint.root
            )
        return self._reader


def main() -> int:
    """Fill the database of the settings; 0 when it is complete, 3 when that was not possible."""
    parser = argparse.ArgumentParser(description="Make the ledger's tables again")
    parser.add_argument("--from", dest="published", metavar="URL|DIR")
    published: str | None = parser.parse_args().published
    columns = (TextColumn("ledger"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        ours = settings.load(RebuildSettings)
        with (
            ClickHouse(ours) as database,
            Progress(*columns, console=Console(stderr=True), transient=True) as progress,
        ):
            bar = progress.add_task("", total=None)

            def show(done: int, total: int) -> None:
                progress.update(bar, completed=done, total=total)

            result = Rebuild(ours, database, None if published is None else source(published), show).run()
    except PactstreamError as error:
        sys.stderr.write(f"pactstream: {error}\n")
        return worker.EXIT_FATAL
    sys.stdout.write(f"{result.leaves} leaves in {result.segments} segments\n")
    if result.leaves_without_values:
        sys.stdout.write(
            f"{result.leaves_without_values} of them without private values: only Kafka had these\n"
        )
    return worker.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
