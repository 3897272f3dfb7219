"""How many distinct values a window holds: exactly, as far as its limit asks.

Whether more than n values were seen depends on n + 1 of them only: any n + 1 of a window that is one bucket,
and the n + 1 seen last of a window that slides. No more are remembered, so nothing is estimated, nothing is
ever counted too low, and a figure beyond the limit means "at least".
"""

from __future__ import annotations

from collections.abc import Iterable

from pactstream.pacts.spans import Division
from pactstream.pacts.state import Bucket, Series


def stand(series: Series, division: Division, at: int, values: Iterable[bytes]) -> tuple[int, int, int]:
    """How many values before a call in bucket `at` and with it, and the last bucket of the window.

    That is the window of bucket `at` where windows are buckets, else the one that ends with the newest call: a
    value is remembered where it was last seen only.
    """
    if not division.reach:
        bucket = series.buckets.get(at)
        known = bucket.values if bucket else {}
        return len(known), len(known) + sum(value not in known for value in values), at
    newest = series.newest
    end = at if newest is None else max(at, newest)
    oldest = end - division.reach
    latest = series.latest
    before = len(latest)
    if next(iter(latest.values()), oldest) < oldest:
        before = sum(index >= oldest for index in latest.values())
    return before, before + sum(latest.get(value, oldest - 1) < oldest for value in values), end


def add(
    series: Series, division: Division, at: int, bucket: Bucket, values: Iterable[bytes], capacity: int
) -> None:
    """Remember values of a call in `bucket`, which stands at `at`; in all as many as `capacity`."""
    ordered = sorted(values)  # sets have no order that a restart keeps
    if not division.reach:
        fresh = [value for value in ordered if value not in bucket.values]
        bucket.values.update(dict.fromkeys(fresh[: capacity - len(bucket.values)]))
        return
    latest = series.latest
    for value in ordered:
        if latest.get(value, at) <= at:
            latest.pop(value, None)
            latest[value] = at
    newest = next(reversed(series.buckets))
    if at < newest:
        series.latest = latest = dict(sorted(latest.items(), key=lambda item: item[1]))
    oldest = newest - division.reach
    while len(latest) > capacity or next(iter(latest.values()), oldest) < oldest:
        del latest[next(iter(latest))]
