"""The status page on real stores: known samples give known figures; and samples travel all the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest

from oracle_api.push import samples
from oracle_api.samples import Sample
from oracle_api.settings import OracleSettings
from oracle_api.status_store import StatusStore
from oracle_api.store import Store
from pactstream import clock
from pactstream.clickhouse.client import ClickHouse
from pactstream.kafka import topics
from tests.kafka_tools import produce
from tests.oracle_process import oracle, prepared
from tests.oracle_tools import ATLAS, History, atlas_day
from tests.stack import ClickHouseAddress, eventually

MINUTE = 60 * clock.MICROS_PER_SECOND
BUCKETS = [100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]


@pytest.fixture
def settings(
    kafka_bootstrap: str, topic_prefix: str, clickhouse_database: ClickHouseAddress, tmp_path: Path
) -> OracleSettings:
    return prepared(
        kafka_bootstrap,
        topic_prefix,
        clickhouse_database,
        tmp_path,
        oracle_requests_per_minute=100_000,
        oracle_burst=100_000,
    )


@pytest.fixture
def database(settings: OracleSettings) -> Iterator[ClickHouse]:
    with ClickHouse(settings) as opened:
        yield opened


def sample(minutes_ago: float, *, instance: str = "one", failures: int = 0, failed_checks: int = 0) -> Sample:
    at = clock.now_micros() - int(minutes_ago * MINUTE)
    return Sample(instance, at, 60.0, 100, failures, BUCKETS, 6, failed_checks, 2.5)


def write(database: ClickHouse, *made: Sample) -> None:
    rows = [
        (
            one.instance,
            one.at_micros,
            one.seconds,
            one.requests,
            one.failures,
            one.buckets,
            one.checks,
            one.failed_checks,
            one.lag_seconds,
        )
        for one in made
    ]
    samples.insert(database, rows)


def test_known_samples_give_known_figures(settings: OracleSettings, database: ClickHouse) -> None:
    failures, forged = {20: 6, 19: 100}, {10: 1}
    seen = [ago for ago in range(31) if not 3 <= ago <= 7]
    made = [sample(ago, failures=failures.get(ago, 0), failed_checks=forged.get(ago, 0)) for ago in seen]
    write(database, *made)
    write(database, *made)  # the same again changes nothing
    status = StatusStore(database.rows, "oracle.example").document()
    assert status["now"]["processes"] == 1
    assert status["now"]["queriesPerSecond"] == pytest.approx(100 / 60, abs=0.01)
    assert status["now"]["latencyMs"] == {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    assert status["now"]["freshnessLagSeconds"] == 2.5
    days = status["days"]
    assert sum(day["queries"] for day in days) == 100 * len(seen)
    assert sum(day["signatureFailures"] for day in days) == 1
    if len(days) == 1:  # not within half an hour after midnight
        assert days[0]["availability"] == pytest.approx((len(seen) - 3) / 31, abs=0.05)
    lengths = {
        (one["kind"], round((_seconds(one["to"]) - _seconds(one["from"])) / 60)) for one in status["incidents"]
    }
    assert lengths == {("failures", 2), ("signatures", 1), ("unobserved", 5)}


def _seconds(text: str) -> float:
    hours, minutes, seconds = text[11:-1].split(":")
    days = int(text[8:10])
    return ((days * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)


def test_without_samples_nothing_is_claimed(database: ClickHouse, settings: OracleSettings) -> None:
    status = StatusStore(database.rows, "oracle.example").document()
    assert (status["now"], status["days"], status["incidents"]) == (None, [], [])


def test_samples_travel_from_the_oracle_to_the_page(settings: OracleSettings, database: ClickHouse) -> None:
    History(database).tell(atlas_day())
    stop = Event()
    copier = samples.copier(settings, lambda rows: samples.insert(database, rows))
    thread = Thread(target=copier.run, args=(stop,))
    thread.start()
    try:
        produce(settings, topics.SAMPLES, [(b"x", b"no sample"), (b"two", sample(0, instance="two").encode())])
        with oracle(settings) as (url, _), httpx.Client(trust_env=False, timeout=30) as client:
            client.get(f"{url}/api/v1/trust/{ATLAS}").raise_for_status()

            def both() -> bool:
                now = client.get(f"{url}/status.json").json()["now"]
                return now is not None and now["processes"] == 2 and now["signatureChecks"] > 6

            eventually(both, timeout=40)
            assert client.get(f"{url}/status.json").json()["now"]["signatureFailures"] == 0
    finally:
        stop.set()
        thread.join()


def test_the_lag_is_from_arrival_to_seal(settings: OracleSettings, database: ClickHouse) -> None:

    history = History(database, now_micros=clock.now_micros() - 45 * clock.MICROS_PER_SECOND)
    assert asyncio.run(Store(database).seal_lag()) is None
    history.tell(atlas_day())
    lag = asyncio.run(Store(database).seal_lag())
    assert lag == pytest.approx(39, abs=0.01)
