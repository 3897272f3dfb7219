"""Prometheus metrics of sealing and of what follows: the projection into ClickHouse, and the publication."""

from __future__ import annotations

from collections.abc import Container

from prometheus_client import Gauge

from pactstream import clock, metrics

SEAL_SECONDS = metrics.histogram("pactstream_seal_seconds")
SEGMENTS = metrics.counter("pactstream_projected_segments_total")
LEAVES = metrics.counter("pactstream_projected_leaves_total")
PACTS = metrics.counter("pactstream_projected_pacts_total")
SKIPPED_PACTS = metrics.counter("pactstream_skipped_pacts_total")
PROJECTION_LAG = metrics.gauge("pactstream_projection_lag_seconds")
PUBLICATION_LAG = metrics.gauge("pactstream_publication_lag_seconds")
PUBLISHED_LEAVES = metrics.gauge("pactstream_published_leaves")
PUBLISHED_COSIGNATURES = metrics.gauge("pactstream_published_cosignatures")
PUBLICATION_FAILURES = metrics.counter("pactstream_publication_failures_total")
QUORUM_FAILURES = metrics.counter("pactstream_quorum_failures_total")


class Lag:
    """The segment in hand of each log, so that the gauge grows while it cannot be written."""

    def __init__(self, gauge: Gauge = PROJECTION_LAG) -> None:
        self._gauge = gauge
        self._sealed_at: dict[int, int] = {}

    def waiting(self, log: int, sealed_at_micros: int) -> None:
        """The log's next segment was read from Kafka."""
        self._sealed_at[log] = sealed_at_micros
        self._gauge.labels(str(log)).set_function(lambda: self.seconds(log))

    def written(self, log: int) -> None:
        """It is written, or it is no longer ours to write."""
        self._sealed_at.pop(log, None)

    def keep(self, logs: Container[int]) -> None:
        """Only these logs are ours: the others' segments wait elsewhere."""
        for log in [one for one in self._sealed_at if one not in logs]:
            self.written(log)

    def seconds(self, log: int) -> float:
        """The lag of one log."""
        sealed_at = self._sealed_at.get(log)
        return 0.0 if sealed_at is None else (clock.now_micros() - sealed_at) / clock.MICROS_PER_SECOND
