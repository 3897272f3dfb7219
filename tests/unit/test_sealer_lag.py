"""The lag gauge while a segment waits for ClickHouse."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from ledger_sealer import metrics
from pactstream import clock


def gauge(log: int) -> float | None:
    return REGISTRY.get_sample_value("pactstream_projection_lag_seconds", {"log": str(log)})


def test_it_grows_while_a_segment_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000_000
    monkeypatch.setattr(clock, "now_micros", lambda: now)
    lag = metrics.Lag()
    lag.waiting(907, sealed_at_micros=now - 2_000_000)
    assert gauge(907) == 2.0
    now += 30_000_000
    assert gauge(907) == 32.0
    lag.waiting(907, sealed_at_micros=now - 500_000)
    assert gauge(907) == 0.5
    lag.written(907)
    assert gauge(907) == 0.0
    lag.written(907)


def test_a_log_that_went_elsewhere_does_not_wait_here() -> None:
    lag = metrics.Lag()
    for log in (908, 909):
        lag.waiting(log, sealed_at_micros=1)
    lag.keep({909})
    assert gauge(908) == 0.0
    assert (gauge(909) or 0) > 0
