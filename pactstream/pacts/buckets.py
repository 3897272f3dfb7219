"""The arithmetic of a window over its buckets: bounded, exact, and free of any clock."""

from __future__ import annotations

from decimal import Decimal
from functools import reduce
from itertools import islice
from typing import Final, NamedTuple

from pactstream.pacts.figures import EXACT, ZERO, Share
from pactstream.pacts.model import Aggregate
from pactstream.pacts.spans import Division
from pactstream.pacts.state import NAME_BYTES, Bucket, Series

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
    index = division.bucket_of(at_micros)
    return max(index, next(reversed(series.buckets)) - division.back) if series.buckets else index


def stand(series: Series, division: Division, at: int, aggregate: Aggregate, share: Share) -> Standing:
    """How the window of a call in bucket `at` stands; of several that hold it, the one that stands highest.

    A call in order has one window, which ends with it. A late one belongs also to those that ended with calls
    already judged: what a window allows must not depend on who arrives last.
    """
    if aggregate == "distinct":
        return _stand_distinct(series, division, at, share)
    before, end = _highest(series.buckets, at, division.reach, aggregate)
    if before is None:
        return Standing(None, share.figure, end)
    after = max(before, share.figure) if aggregate == "max" else EXACT.add(before, share.figure)
    return Standing(before, after, end)


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
    buckets = series.buckets
    bucket = buckets.get(at)
    if bucket is None:
        late = bool(buckets) and at < next(reversed(buckets))
        bucket = buckets[at] = Bucket(share.figure)
        if late:
            series.buckets = buckets = dict(sorted(buckets.items()))
    elif aggregate == "max":
        bucket.figure = max(bucket.figure, share.figure)
    else:
        bucket.figure = EXACT.add(bucket.figure, share.figure)
    bucket.calls += 1
    oldest = next(reversed(buckets)) - division.kept
    for index in [index for index in buckets if index < oldest]:
        del buckets[index]
    if aggregate == "distinct":
        _add_values(buckets, division, at, share.values, capacity)
    _keep_id(buckets, bucket, event_id)


def contributors(series: Series, division: Division, end: int, event_id: bytes) -> tuple[int, list[bytes]]:
    """How many calls the window that ends in bucket `end` is made of, and the ids of the first known hundred.

    The call at hand, not yet counted in the series, comes last.
    """
    inside = _inside(series.buckets, end, division.reach)
    ids = (one for bucket in inside for one in _split(bucket.ids))
    return sum(bucket.calls for bucket in inside) + 1, [*islice(ids, MAX_LISTED - 1), event_id]


def _inside(buckets: dict[int, Bucket], end: int, reach: int) -> list[Bucket]:
    return [bucket for index, bucket in buckets.items() if end - reach <= index <= end]


def _highest(
    buckets: dict[int, Bucket], at: int, reach: int, aggregate: Aggregate
) -> tuple[Decimal | None, int]:
    if aggregate == "max":
        # Every bucket within reach of `at` on either side shares a window with it.
        near = [(bucket.figure, index) for index, bucket in buckets.items() if abs(index - at) <= reach]
        figure, index = max(near, default=(None, at))
        return figure, max(at, index)
    if not buckets or next(reversed(buckets)) <= at:
        inside = _inside(buckets, at, reach)
        return (reduce(EXACT.add, [bucket.figure for bucket in inside]), at) if inside else (None, at)
    return _highest_sum(buckets, at, reach)


def _highest_sum(buckets: dict[int, Bucket], at: int, reach: int) -> tuple[Decimal | None, int]:
    """One pass over the buckets around `at`: what comes into the window is added, what goes out taken off."""
    near = {index: bucket.figure for index, bucket in buckets.items() if abs(index - at) <= reach}
    near.setdefault(at, ZERO)
    ordered = sorted(near.items())
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


def _stand_distinct(series: Series, division: Division, at: int, share: Share) -> Standing:
    """By the window that ends with the newest call: a value is remembered where it was last seen only."""
    newest = next(reversed(series.buckets), at)
    end = max(at, newest) if division.reach else at
    inside = _inside(series.buckets, end, division.reach)
    before = sum(len(bucket.values) for bucket in inside)
    fresh = sum(1 for value in share.values if not any(value in bucket.values for bucket in inside))
    return Standing(Decimal(before), Decimal(before + fresh), end)


def _add_values(
    buckets: dict[int, Bucket], division: Division, at: int, values: frozenset[bytes], capacity: int
) -> None:
    """Remember values where they were last seen, as many as the limit needs: the latest.

    Whether more than n values were seen in a window only depends on the n + 1 seen last. So nothing is
    estimated: what is forgotten could not change a verdict.
    """
    sharing = buckets if division.reach else {at: buckets[at]}
    for value in sorted(values):
        seen = next((index for index, bucket in sharing.items() if value in bucket.values), None)
        if seen is None or seen < at:
            if seen is not None:
                del sharing[seen].values[value]
            sharing[at].values[value] = None
    surplus = sum(len(bucket.values) for bucket in sharing.values()) - capacity
    for bucket in sharing.values():
        for value in list(islice(bucket.values, max(surplus, 0))):
            del bucket.values[value]
            surplus -= 1


def _keep_id(buckets: dict[int, Bucket], bucket: Bucket, event_id: bytes) -> None:
    if len(bucket.ids) >= MAX_LISTED * NAME_BYTES:
        return
    bucket.ids += event_id
    if sum(len(one.ids) for one in buckets.values()) > MAX_KEPT * NAME_BYTES:
        for one in buckets.values():
            one.ids = one.ids[: (len(one.ids) // NAME_BYTES + 1) // 2 * NAME_BYTES]


def _split(ids: bytes) -> list[bytes]:
    return [ids[at : at + NAME_BYTES] for at in range(0, len(ids), NAME_BYTES)]
