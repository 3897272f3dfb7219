"""When sessions began: what the span of a session needs at its end, kept within bounds."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

_HOUR_MICROS: Final = 3_600_000_000


class Began(NamedTuple):
    """A start: what the event says, and the record in which it stands."""

    micros: int
    offset: int
    arrived_micros: int


class Sessions:
    """Of one partition. The oldest start makes room for the newest, and none is kept beyond `hours`."""

    def __init__(self, most: int, hours: float) -> None:
        self._most = most
        self._keep_micros = int(hours * _HOUR_MICROS)
        self._open: OrderedDict[bytes, Began] = OrderedDict()

    def began(self, trace_id: bytes, start: Began) -> None:
        """A session has begun."""
        self._open.setdefault(trace_id, start)
        while len(self._open) > self._most:
            self._open.popitem(last=False)

    def ended(self, trace_id: bytes) -> int | None:
        """A session has ended; when it began, None where that is not known (any more)."""
        found = self._open.pop(trace_id, None)
        return None if found is None else found.micros

    def first_offset(self, now_micros: int) -> int | None:
        """The record of the oldest start still needed: who begins there knows all that is known here."""
        while self._open:
            oldest = next(iter(self._open.values()))
            if now_micros - oldest.arrived_micros < self._keep_micros:
                return oldest.offset
            self._open.popitem(last=False)
        return None
