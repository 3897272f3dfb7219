"""What this process measures of itself, every few seconds: the figures of the status page.

The oracle cannot write to ClickHouse. A sample goes to the topic `oracle.samples`, from which the pushing
process copies it. One that Kafka does not take is lost, and shows on the page as a gap: an oracle that cannot
be observed does not count as up.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Final, Protocol

from pactstream import avro, canonical, clock, metrics
from pactstream.errors import PactstreamError
from pactstream.kafka import topics
from pactstream.signing.report import ReportError, verify_jwt, verify_report

BOUNDS_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets; what took longer is in one more."""

INTERVAL_SECONDS: Final = 10.0
_log = logging.getLogger(__name__)
_CHECKS = metrics.counter("pactstream_oracle_self_checks_total")
for _outcome in ("held", "failed"):
    _CHECKS.labels(_outcome)  # from 0 on, or the first failure would be no increase
_FRESHNESS = metrics.gauge("pactstream_oracle_freshness_seconds")
_LOST = metrics.counter("pactstream_oracle_samples_lost_total")


@dataclass(slots=True)
class Sample:
    """One interval of one process, in the words of the Avro schema `OracleSample`."""

    instance: str
    at_micros: int = 0
    seconds: float = 0.0
    requests: int = 0
    failures: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_SECONDS) + 1))
    checks: int = 0
    failed_checks: int = 0
    lag_seconds: float | None = None

    def encode(self) -> bytes:
        """Its Avro record."""
        return avro.encode("OracleSample", asdict(self))


class Sampler:
    """Counts the requests of the present interval."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._begun = clock.monotonic_seconds()
        self._now = Sample(instance)

    def observe(self, status: int, seconds: float) -> None:
        """Count one answer."""
        self._now.requests += 1
        self._now.failures += status >= 500
        self._now.buckets[bisect_left(BOUNDS_SECONDS, seconds)] += 1

    def take(self) -> Sample:
        """The interval that ends now; the next one begins."""
        taken, self._now = self._now, Sample(self._instance)
        now = clock.monotonic_seconds()
        taken.seconds, self._begun = now - self._begun, now
        taken.at_micros = clock.now_micros()
        return taken


class Publish(Protocol):
    """Writes a record and waits for it: `Publisher.publish`."""

    async def __call__(self, topic: str, key: bytes, value: bytes) -> None:  # noqa: D102 - the class says it
        ...


class Lag(Protocol):
    """Where the lag comes from: `store.Store`."""

    async def seal_lag(self) -> float | None:
        """Seconds from an event's arrival to its seal, the longest of the last minute."""


class SelfCheck:
    """Verifies what this process gives out, as a stranger would: with the key set that it publishes."""

    def __init__(self, newest: Callable[[], tuple[bytes, str] | None], jwks: bytes, issuer: str) -> None:
        self._newest = newest
        self._jwks = canonical.parse_json(jwks)
        self._issuer = issuer

    def run(self) -> bool | None:
        """Whether the report given out last verifies in both forms; None where none was."""
        newest = self._newest()
        if newest is None:
            return None
        report, token = newest
        now = clock.now_micros()
        try:
            verify_report(report, self._jwks, issuer=self._issuer, now_micros=now)
            verify_jwt(token, self._jwks, issuer=self._issuer, now_micros=now)
        except ReportError as error:
            _log.error("our own report does not verify: %s", error)
            return False
        return True


async def sample_for_ever(
    sampler: Sampler, check: SelfCheck, lag: Lag, publish: Publish, interval_seconds: float = INTERVAL_SECONDS
) -> None:
    """Take and publish samples until cancelled."""
    while True:
        await asyncio.sleep(interval_seconds)
        verified = await asyncio.to_thread(check.run)
        try:
            lag_seconds = await lag.seal_lag()
        except PactstreamError:
            lag_seconds = None  # ClickHouse is away: requests that needed it are failures already
        taken = sampler.take()
        taken.lag_seconds = lag_seconds
        _FRESHNESS.set(lag_seconds or 0)
        if verified is not None:
            _CHECKS.labels("held" if verified else "failed").inc()
        taken.checks, taken.failed_checks = int(verified is not None), int(verified is False)
        try:
            await publish(topics.SAMPLES, taken.instance.encode(), taken.encode())
        except PactstreamError as error:
            _LOST.inc()
            _log.warning("a sample is lost: %s", error)
