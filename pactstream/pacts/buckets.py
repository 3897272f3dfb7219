"""The arithmetic of a window over its buckets: bounded, exact, and free of any clock."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import partial, reduce
from itertools import islice
from typing import Final, NamedTuple

from pactstream.pacts import distinct
from pactstream.pacts.figures import EXACT, Share
from pactstream.pacts.model import Aggregate
from pactstream.pacts.spans import Division
from pactstream.pacts.state import NAME_BYTES, ZERO, Bucket, Series

MAX_LISTED: Final = 100
"""A crossing lists so many of the calls behind it, the earliest known."""

MAX_KEPT: Final = 400
"""So many ids of calls a series keeps; beyond, each bucket keeps the earlier half of its own."""


class Standing(NamedTuple):
    """A window before and after a call (`before` None: it was empty); `end` is the last bucket of it."""

    before: Decimal | None
    after: Decimal
    end: int


def place(series: Series, division: Division, at_micros: int) -> int:
    """The bucket that a moment counts in."""
    index, newest = division.bucket_of(at_micros), series.newest
    return index if newest is None else max(index, newest - division.back)


def stand(series: Series, division: Division, at: int, aggregate: Aggregate, share: Share) -> Standing:
    """How the window of a call in bucket `at` stands; of several that hold it, the one that stands highest.

    A call in order has one window, which ends with it. A late one belongs also to those that ended with calls
    already judged: what a window allows must not depend on who arrives last.
    """
    if aggregate == "distinct":
        seen, with_call, end = distinct.stand(series, division, at, share.values)
        return Standing(Decimal(seen), Decimal(with_call), end)
    before, end = _highest(series, at, division.reach, aggregate)
    if before is None:
        return Standing(None, share.figure, end)
    return Standing(before, _combined(aggregate, before, share.figure), end)


def add(
    series: Series,
    division: Division,
    at: int,
    aggregate: Aggregate,
    share: Share,
    event_id: bytes,
    capacity: int,
) -> None:
    """Count a call in bucket `at`, and forget what no window will need again."""
    newest = series.newest
    bucket = series.buckets.get(at)
    if bucket is None:
        bucket = series.buckets[at] = Bucket(share.figure)
        _tidy(series, division, late=newest is not None and at < newest)
    else:
        bucket.figure = _combined(aggregate, bucket.figure, share.figure)
    bucket.calls += 1
    if newest is None or at > newest:
        series.total = _figure(_inside(series, at, division.reach), aggregate) or ZERO
    elif at >= newest - division.reach:
        series.total = _combined(aggregate, series.total, share.figure)
    if aggregate == "distinct":
        distinct.add(series, division, at, bucket, share.values, capacity)
    _keep_id(series, bucket, event_id)


def contributors(series: Series, division: Division, end: int, event_id: bytes) -> tuple[int, list[bytes]]:
    """How many calls the window that ends in bucket `end` is made of, and the ids of the first known hundred.

    The call at hand, not yet counted in the series, comes last.
    """
    inside = _inside(series, end, division.reach)
    ids = (one for bucket in inside for one in _split(bucket.ids))
    return sum(bucket.calls for bucket in inside) + 1, [*islice(ids, MAX_LISTED - 1), event_id]


def together(aggregate: Aggregate, share: Share, others: Iterable[Share]) -> Share:
    """What several calls add to a window, as if they were one."""
    for other in others:
        share = Share(_combined(aggregate, share.figure, other.figure), share.values | other.values)
    return share


def _combined(aggregate: Aggregate, one: Decimal, other: Decimal) -> Decimal:
    return max(one, other) if aggregate == "max" else EXACT.add(one, other)


def _figure(buckets: list[Bucket], aggregate: Aggregate) -> Decimal | None:
    """The figure of some buckets together; None without any."""
    figures = [bucket.figure for bucket in buckets]
    return reduce(partial(_combined, aggregate), figures) if figures else None


def _inside(series: Series, end: int, reach: int) -> list[Bucket]:
    return [bucket for index, bucket in series.buckets.items() if end - reach <= index <= end]


def _highest(series: Series, at: int, reach: int, aggregate: Aggregate) -> tuple[Decimal | None, int]:
    """The highest figure among the windows that hold bucket `at`, and where that one ends."""
    newest = series.newest
    if newest is None or at > newest:
        return _figure(_inside(series, at, reach), aggregate), at
    if at == newest:
        return series.total, at
    near = {index: bucket.figure for index, bucket in series.buckets.items() if abs(index - at) <= reach}
    if aggregate == "max":
        # Every bucket within reach of `at`, on either side, shares a window with it.
        highest = max(near, key=lambda index: near[index], default=at)
        return near.get(highest), max(at, highest)
    return _highest_sum(near, at, reach)


def _highest_sum(near: dict[int, Decimal], at: int, reach: int) -> tuple[Decimal, int]:
    """One pass: what comes into the window is added, what goes out is taken off."""
    ordered = sorted({at: ZERO, **near}.items())
    total, first = ZERO, 0
    best, best_end = ZERO, at
    for index, figure in ordered:
        total = EXACT.add(total, figure)
        while ordered[first][0] < index - reach:
            total = EXACT.subtract(total, ordered[first][1])
            first += 1
        if index >= at and total > best:
            best, best_end = total, index
    return best, best_end


def _tidy(series: Series, division: Division, *, late: bool) -> None:
    """Put a new bucket in its place, and drop those that no call can share a window with any more."""
    if late:
        series.buckets = dict(sorted(series.buckets.items()))
    buckets = series.buckets
    oldest = next(reversed(buckets)) - division.kept
    while (first := next(iter(buckets))) < oldest:
        series.ids -= len(buckets.pop(first).ids) // NAME_BYTES


def _keep_id(series: Series, bucket: Bucket, event_id: bytes) -> None:
    if len(bucket.ids) >= MAX_LISTED * NAME_BYTES:
        return
    bucket.ids += event_id
    series.ids += 1
    if series.ids > MAX_KEPT:
        for one in series.buckets.values():
            one.ids = one.ids[: (len(one.ids) // NAME_BYTES + 1) // 2 * NAME_BYTES]
        series.ids = sum(len(one.ids) // NAME_BYTES for one in series.buckets.values())


def _split(ids: bytes) -> list[bytes]:
    return [ids[at : at + NAME_BYTES] for at in range(0, len(ids), NAME_BYTES)]
