"""Prometheus metrics of what follows the sealing: the projection into ClickHouse, and the publication."""

from __future__ import annotations

from collections.abc import Container

from prometheus_client import Counter, Gauge

from pactstream import clock

SEGMENTS = Counter("pactstream_projected_segments_total", "Segments written to ClickHouse.", ["log"])
LEAVES = Counter("pactstream_projected_leaves_total", "Leaves written to ClickHouse.", ["log"])
PACTS = Counter("pactstream_projected_pacts_total", "Pact versions written to ClickHouse.")
SKIPPED_PACTS = Counter("pactstream_skipped_pacts_total", "Records of the topic pacts that are no versions.")
PROJECTION_LAG = Gauge(
    "pactstream_projection_lag_seconds",
    "Age of the oldest sealed segment that waits for ClickHouse; 0 when none does.",
    ["log"],
)
PUBLICATION_LAG = Gauge(
    "pactstream_publication_lag_seconds",
    "Age of the oldest sealed segment that waits to be published; 0 when none does.",
    ["log"],
)
PUBLISHED_LEAVES = Gauge("pactstream_published_leaves", "Leaves under the published checkpoint.", ["log"])
PUBLISHED_COSIGNATURES = Gauge(
    "pactstream_published_cosignatures", "Witnesses that cosigned the published checkpoint.", ["log"]
)
PUBLICATION_FAILURES = Counter(
    "pactstream_publication_failures_total", "Attempts to publish that are to be repeated.", ["log"]
)


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
