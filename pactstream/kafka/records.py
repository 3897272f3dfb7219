"""What goes in and out of the processing loop, free of any Kafka client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Record:
    """One consumed record and where it stands."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Emit(Protocol):
    """Write one record in the current transaction; `topic` is without prefix."""

    def __call__(  # noqa: D102 - the class says it
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: Headers = (),
    ) -> None: ...


class Restored(Protocol):
    """What is restored from a changelog."""

    @property
    def position(self) -> int:
        """The offset in the changelog at which restoring begins: what comes before is here already."""
        return 0

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one record of the changelog; None deletes the key."""

    def checkpoint(self, position: int) -> None:
        """All that was restored or flushed so far is committed, and stands in the changelog before `position`.

        Raises:
            Retryable: it could not be kept. Nothing of it is lost, for it is in the changelog.
        """
        return  # by default nothing is kept


class _Nothing(Restored):
    def restore(self, key: bytes, value: bytes | None) -> None:
        """Keep nothing."""

    def checkpoint(self, position: int) -> None:
        """Nothing is kept."""


_NOTHING = _Nothing()


class Task(Restored, Protocol):
    """The work on one source partition, with its state; knows nothing of consumers and transactions.

    The loop calls `restore` for each changelog record from `position` on, then `process` for each source
    record, then `flush` before each commit, and `checkpoint` after what was restored or committed. A `Task` is
    thrown away when its partition moves or its transaction is aborted, and a new one is restored: state never
    outlives what was committed, save where a task keeps it at a checkpoint.
    """

    @property
    def side(self) -> Restored:
        """What is restored from the second changelog, where the plan has one; by default nothing is kept."""
        return _NOTHING

    def process(self, record: Record, emit: Emit) -> int:
        """Handle one record; returns how many events it carried, which counts towards the transaction's size.

        Raises:
            InvalidInput: the record goes to the dead letter queue. Must be raised before state is changed.
            Backpressure, Retryable: the transaction is abandoned and begun again later.
        """

    def flush(self, emit: Emit) -> None:
        """Write what changed since the last call, state included, before the transaction commits."""

    def close(self) -> None:
        """Let go of what the task holds open; the last call."""
        return  # by default nothing is open
