"""A consumer for Faust that hands on every record it takes from Kafka, or asks for it again.

Faust reads through aiokafka in a second thread. Release 0.15.3 loses records there, without a word:

1. `getmany` gives that thread its set of active partitions as it is, and goes on changing it. Once the
   tables are back the set is empty for a moment. To aiokafka an empty set means *all* partitions: it returns
   windows and moves past them, and Faust drops them, as their partition is not active yet.
2. Recovery resumes the streams, waits for a seek, and then clears the queues, with what has come by then.
3. Offsets at which there is no record, such as markers of transactions, count as done, and so does the
   record after them, before it is handled.

After 1 or 2 the app is ready and idle, its commit stands still, and only a restart brings the records back.
After 3 a crash can skip a record, and commits crawl, by one transaction a second.

Here the other thread gets a copy of the set; what comes back for a partition that may not be read now is
sought again; streams begin when the flow is resumed, which is after seek and clearing; and a gap ends before
the record. A crash at any point leaves the committed offset, and all from there on comes again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from aiokafka.errors import IllegalStateError
from faust.transport.drivers.aiokafka import Consumer, Transport
from faust.types import TP

Records = Mapping[TP, list[Any]]


class WholeConsumer(Consumer):
    """Faust's consumer, without the two races above. `tests/unit/test_anomaly_consumer.py` forces both."""

    _begin_later: set[TP]

    def _reset_state(self) -> None:
        super()._reset_state()
        self._begin_later = set()

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Read no more of these."""
        tps = set(tps)
        self._begin_later -= tps
        super().pause_partitions(tps)

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Read changelogs from now on, and streams from the next `resume_flow` on."""
        changelogs = {tp for tp in tps if self._is_changelog_tp(tp)}
        self._begin_later |= set(tps) - changelogs
        super().resume_partitions(changelogs)

    def resume_flow(self) -> None:
        """Let records through; queues have just been cleared."""
        super().resume_partitions(self._begin_later)
        self._begin_later = set()
        super().resume_flow()

    def lags(self) -> Iterator[tuple[str, int, int]]:
        """Topic, partition, and offsets from its commit to its end, of each stream's partition held here.

        Only between rebalances: then the other thread cannot change the assignment without this one.
        """
        for tp in self.assignment():
            end = None if self._is_changelog_tp(tp) else self.highwater(tp)
            if end is not None:
                yield tp.topic, tp.partition, max(0, end - (self._committed_offset[tp] or 0))

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Records:  # noqa: ASYNC109
        records: Records = await super()._getmany(set(active_partitions or ()), timeout)
        # No other task runs between the last look here and the caller's: what is returned is handed on.
        while refused := {tp: found[0].offset for tp, found in records.items() if not self._may_read(tp)}:
            records = {tp: found for tp, found in records.items() if tp not in refused}
            await self._thread.call_thread(self._seek_again, refused)
        return records

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Take the offsets before `offset_to`, at which there is a record, as done."""
        await super()._add_gap(tp, offset_from, offset_to - 1)

    def _may_read(self, tp: TP) -> bool:
        return self.flow_active and (tp in self._active_partitions or tp in self._buffered_partitions)

    async def _seek_again(self, offsets: Mapping[TP, int]) -> None:
        """In the other thread: back to these, unless a rebalance has put the position there or before."""
        consumer = self._thread._ensure_consumer()
        for tp, offset in offsets.items():
            with suppress(IllegalStateError):  # no longer ours
                if await consumer.position(tp) > offset:
                    consumer.seek(tp, offset)


class WholeTransport(Transport):
    """Faust's transport, with that consumer."""

    Consumer = WholeConsumer
