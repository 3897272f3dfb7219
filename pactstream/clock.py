"""The one place that reads the clock, so that everything else can be given a time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

MICROS_PER_SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_micros() -> int:
    """Wall-clock time in microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000


def monotonic_seconds() -> float:
    """A clock that never goes back, in seconds from an arbitrary start; for time-outs and durations."""
    return time.monotonic()


def to_iso(micros: int) -> str:
    """Microseconds since 1970 as an RFC 3339 UTC time with six decimals: `2026-05-13T10:00:00.000000Z`."""
    seconds, fraction = divmod(micros, MICROS_PER_SECOND)
    return f"{_iso_seconds(seconds)}.{fraction:06d}Z"


def from_micros(micros: int) -> datetime:
    """Microseconds since 1970 as an aware `datetime`."""
    return _EPOCH + timedelta(microseconds=micros)


def to_micros(moment: datetime) -> int:
    """An aware `datetime` as microseconds since 1970, exactly (no float on the way)."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * MICROS_PER_SECOND + delta.microseconds


@lru_cache(maxsize=1024)  # the worker stamps each event, and many fall in one second: 0.4 µs instead of 2.7
def _iso_seconds(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
