"""How windows divide time: which bucket a moment falls in, and which buckets make up a window.

A sliding window of duration D has buckets of D/100, and covers the bucket of its last moment and the hundred
before. So it never misses a call of the last D, and may hold calls that are up to D/100 older.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from pactstream.pacts.model import CalendarDay, Sliding, Span

SLIDING_BUCKETS: Final = 100
SESSION_IDLE_MICROS: Final = 7 * 86_400_000_000
"""A session of which no call is judged for this long is forgotten."""

_DAY_MICROS: Final = 86_400_000_000
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()


class Division(NamedTuple):
    """One way to divide time.

    `bucket_of(micros)` is a moment's bucket. A window that ends in bucket n holds n - `reach` to n. A call that
    names a bucket more than `back` before the newest counts in the one `back` before it. `expires(newest,
    arrival)` is when a series whose newest bucket and latest arrival these are means nothing any more.
    """

    bucket_of: Callable[[int], int]
    reach: int
    back: int
    expires: Callable[[int, int], int]

    @property
    def kept(self) -> int:
        """How many buckets before the newest are kept: all that a call may still share a window with."""
        return self.reach + self.back


def division(span: Span, lateness_micros: int) -> Division:
    """How to divide time for a span."""
    match span:
        case Sliding():
            return _sliding(span.duration_micros, lateness_micros)
        case CalendarDay():
            return _days(ZoneInfo(span.time_zone), lateness_micros)
        case _:
            return Division(lambda _: 0, 0, 0, lambda _, arrival: arrival + SESSION_IDLE_MICROS)


def _sliding(duration_micros: int, lateness_micros: int) -> Division:
    width = -(-duration_micros // SLIDING_BUCKETS)

    def expires(newest: int, _: int) -> int:
        return (newest + 1 + SLIDING_BUCKETS) * width + lateness_micros

    return Division(lambda micros: micros // width, SLIDING_BUCKETS, SLIDING_BUCKETS, expires)


def _days(zone: ZoneInfo, lateness_micros: int) -> Division:
    def index(micros: int) -> int:
        # Floored to seconds first, so that no float is rounded up over midnight.
        return datetime.fromtimestamp(micros // 1_000_000, zone).toordinal()

    def expires(newest: int, _: int) -> int:
        # No zone is a whole day from UTC: the day has ended everywhere.
        return (newest - _EPOCH_DAY + 2) * _DAY_MICROS + lateness_micros

    return Division(index, 0, 1, expires)
