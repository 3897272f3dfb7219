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


class Task(Protocol):
    """The work on one source partition, with its state; knows nothing of consumers and transactions.

    The loop calls `restore` for each changelog record, then `process` for each source record, then `flush`
    before each commit. A `Task` is thrown away when its partition moves or its transaction is aborted, and a
    new one is restored: state never outlives what was committed.
    """

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one record of the changelog; None deletes the key."""

    def process(self, record: Record, emit: Emit) -> int:
        """Handle one record; returns how many events it carried, which counts towards the transaction's size.

        Raises:
            InvalidInput: the record goes to the dead letter queue. Must be raised before state is changed.
            Backpressure, Retryable: the transaction is abandoned and begun again later.
        """

    def flush(self, emit: Emit) -> None:
        """Write what changed since the last call, state included, before the transaction commits."""
