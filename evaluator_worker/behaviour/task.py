"""The work on one partition of `telemetry.evaluated`: windows, each written when its minute is over.

Time here is what the records say, never the clock: a replay writes the same windows with the same revisions.
An event belongs to the minute in which it says it occurred, if that is not after its arrival and at most
`LATENESS_MICROS` before the latest arrival of the partition; else to the nearest minute within. So no agent
can reach into windows of long ago. A window is written as soon as an arrival is `GRACE_MICROS` past its minute,
and again, with the next revision, for each batch that brings a late event. The last minute before a partition
falls silent is written when it speaks again.
"""

from __future__ import annotations

from typing import Final

from evaluator_worker.behaviour.leaves import Seen, seen
from evaluator_worker.behaviour.window import Window
from pactstream import avro, clock
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.records import Emit, Record, Task

MINUTE_MICROS: Final = 60 * clock.MICROS_PER_SECOND
GRACE_MICROS: Final = 10 * clock.MICROS_PER_SECOND
LATENESS_MICROS: Final = 10 * MINUTE_MICROS
WATERMARK: Final = "watermark"


class BehaviourTask(Task):
    """The windows of one partition that are not finished yet."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._windows: dict[str, Window] = {}
        self._arrived_micros = 0
        self._changed: set[str] = set()  # windows to be written to the changelog; those gone, deleted

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record: `<agent>/<tenant>/<minute>`, or the watermark."""
        name = key.decode()
        if value is None:
            self._windows.pop(name, None)
        elif name == WATERMARK:
            self._arrived_micros = avro.decode_as("BehaviourProgress", value)["arrived_micros"]
        else:
            self._windows[name] = Window.decode(value)

    def process(self, record: Record, emit: Emit) -> int:
        """Count one batch, and write the windows that are over.

        Raises:
            InvalidInput: it is not a batch of leaves, or its key is not its agent.
        """
        batch = avro.decode_as("EvaluatedBatch", record.value)
        agent_id, tenant_id = batch["agent_id"], batch["tenant_id"]
        if record.key != agent_id.encode():
            raise InvalidInput("the record's key is not the batch's agent: its order would not hold")
        events = list(seen(batch))
        arrived = batch["received_at_micros"]
        oldest = max(self._arrived_micros, arrived) - LATENESS_MICROS
        touched: dict[str, Window] = {}
        for event in events:
            window = self._window(agent_id, tenant_id, _minute(event, oldest, max(arrived, oldest)))
            window.add(event)
            touched[window.key] = window
        for window in touched.values():
            window.settle()
            if window.revision:
                self._write(window, emit)  # once more: it was over already
        self._advance(arrived, emit)
        return len(events)

    def flush(self, emit: Emit) -> None:
        """Write what changed to the changelog."""
        for key in sorted(self._changed):
            window = self._windows.get(key)
            self._log(emit, key, None if window is None else window.encode())
        if self._changed:
            progress = {"arrived_micros": self._arrived_micros}
            self._log(emit, WATERMARK, avro.encode("BehaviourProgress", progress))
        self._changed.clear()

    def _window(self, agent_id: str, tenant_id: str, minute_micros: int) -> Window:
        key = f"{agent_id}/{tenant_id}/{minute_micros}"
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = Window(agent_id, tenant_id, minute_micros)
        self._changed.add(key)
        return window

    def _advance(self, arrived_micros: int, emit: Emit) -> None:
        """Write the windows whose minute is over, and forget those that no event can reach any more."""
        if arrived_micros <= self._arrived_micros:
            return
        before, self._arrived_micros = self._arrived_micros, arrived_micros
        if (before - GRACE_MICROS) // MINUTE_MICROS == (arrived_micros - GRACE_MICROS) // MINUTE_MICROS:
            return  # no minute has ended; most batches end here
        over = arrived_micros - GRACE_MICROS - MINUTE_MICROS
        gone = arrived_micros - LATENESS_MICROS - MINUTE_MICROS
        for key in sorted(self._windows, key=lambda one: (self._windows[one].minute_micros, one)):
            window = self._windows[key]
            if window.minute_micros > over:
                break
            if not window.revision:
                self._write(window, emit)
            if window.minute_micros < gone:
                del self._windows[key]
                self._changed.add(key)

    def _write(self, window: Window, emit: Emit) -> None:
        window.revision += 1
        self._changed.add(window.key)
        # In the source's partition, as all that is keyed by agent.
        emit(topics.WINDOWS, window.agent_id.encode(), window.encode(), partition=self._partition)

    def _log(self, emit: Emit, key: str, value: bytes | None) -> None:
        emit(topics.BEHAVIOUR_STATE, key.encode(), value, partition=self._partition)


def _minute(event: Seen, oldest_micros: int, newest_micros: int) -> int:
    """The start of the minute of an event."""
    moment = min(max(event.occurred_micros, oldest_micros), newest_micros)
    return moment // MINUTE_MICROS * MINUTE_MICROS
