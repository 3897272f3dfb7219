"""Prometheus metrics of the projection into ClickHouse."""

from __future__ import annotations

from collections.abc import Container

from prometheus_client import Counter, Gauge

from pactstream import clock

SEGMENTS = Counter("pactstream_projected_segments_total", "Segments written to ClickHouse.", ["log"])
LEAVES = Counter("pactstream_projected_leaves_total", "Leaves written to ClickHouse.", ["log"])
PACTS = Counter("pactstream_projected_pacts_total", "Pact versions written to ClickHouse.")
SKIPPED_PACTS = Counter("pactstream_skipped_pacts_total", "Records of the topic pacts that are no versions.")
_LAG = Gauge(
    "pactstream_projection_lag_seconds",
    "Age of the oldest sealed segment that waits for ClickHouse; 0 when none does.",
    ["log"],
)


class Lag:
    """The segment in hand of each log, so that the gauge grows while ClickHouse does not answer."""

    def __init__(self) -> None:
        self._sealed_at: dict[int, int] = {}

    def waiting(self, log: int, sealed_at_micros: int) -> None:
        """The log's next segment was read from Kafka."""
        self._sealed_at[log] = sealed_at_micros
        _LAG.labels(str(log)).set_function(lambda: self.seconds(log))

    def written(self, log: int) -> None:
        """It is in ClickHouse, or it is no longer ours to write."""
        self._sealed_at.pop(log, None)

    def keep(self, logs: Container[int]) -> None:
        """Only these logs are ours: the others' segments wait elsewhere."""
        for log in [one for one in self._sealed_at if one not in logs]:
            self.written(log)

    def seconds(self, log: int) -> float:
        """The lag of one log."""
        sealed_at = self._sealed_at.get(log)
        return 0.0 if sealed_at is None else (clock.now_micros() - sealed_at) / clock.MICROS_PER_SECOND
