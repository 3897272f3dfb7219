"""The status page: figures from samples, nothing made up, and checks that can fail."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oracle_api import status_routes
from oracle_api.reports import Reports, Signer
from oracle_api.samples import BOUNDS_SECONDS, Sampler, SelfCheck, sample_for_ever
from oracle_api.status import Incident, Span, document, quantile
from pactstream import avro, canonical, clock
from pactstream.errors import Backpressure, Retryable
from pactstream.kafka import topics
from pactstream.signing.jwks import jwks_document
from pactstream.signing.keys import create_keys
from tests.asgi import ask
from tests.oracle_states import AGENT, FakeStandings, FakeStore
from tests.unit.test_oracle_api import build

BUCKETS = (90, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0)
NOW = Span("", 2, 600.0, 100, 3, BUCKETS, 60, 0, 1.5)
DAY = Span("2026-05-13", 2, 600.0, 100, 3, BUCKETS, 60, 1, None, 1_430, 1_440)


@pytest.mark.parametrize(
    ("q", "expected"), [(0.5, 0.556), (0.9, 1.0), (0.95, 7.778), (0.99, 10.0), (1.0, 250.0)]
)
def test_a_quantile_is_interpolated_within_its_bucket(q: float, expected: float) -> None:
    assert quantile(BUCKETS, q) == expected


def test_a_quantile_of_nothing_is_nothing_and_beyond_the_last_bound_is_the_last_bound() -> None:
    assert quantile((0,) * 13, 0.5) is None
    assert quantile((0,) * 12 + (5,), 0.5) == 5_000


def test_the_document_has_what_was_measured_and_null_for_what_was_not() -> None:
    made = document("oracle.example", 0, NOW, [DAY], [Incident("failures", 0, 60_000_000)])
    assert made["now"] == {
        "processes": 2,
        "queries": 100,
        "queriesPerSecond": 0.333,
        "failures": 3,
        "latencyMs": {"p50": 0.556, "p95": 7.778, "p99": 10.0},
        "signatureChecks": 60,
        "signatureFailures": 0,
        "freshnessLagSeconds": 1.5,
    }
    (day,) = made["days"]
    assert (day["availability"], day["signatureFailures"], day["freshnessLagSeconds"]) == (
        1_430 / 1_440,
        1,
        None,
    )
    assert made["incidents"] == [
        {"kind": "failures", "from": "1970-01-01T00:00:00.000000Z", "to": "1970-01-01T00:01:00.000000Z"}
    ]
    assert document("oracle.example", 0, None, [], [])["now"] is None


def test_the_page_shows_the_figures_and_escapes_names() -> None:
    page = status_routes.html(document("<b>", 0, NOW, [DAY], [Incident("failures", 0, 1)]))
    assert "&lt;b&gt;: status" in page
    assert "99.31 %" in page
    assert "0.333" in page
    assert "<script" not in page
    assert "style=" not in page
    empty = status_routes.html(document("x", 0, None, [], []))
    assert "Not observed" in empty
    assert "None in 90 days" in empty


def test_the_page_says_in_a_word_how_it_is() -> None:
    def said(**changes: Any) -> str:
        return status_routes.html(document("x", 0, replace(NOW, **changes), [], []))

    assert "In order." in said(requests=100, failures=5, failed_checks=0)
    assert "Requests fail." in said(requests=100, failures=6, failed_checks=0)
    assert "Reports do not verify." in said(requests=100, failures=0, failed_checks=1)


def test_each_of_ninety_days_has_a_bar_and_a_day_without_samples_was_down() -> None:
    at = 200 * 86_400_000_000  # 1970-07-20
    days = [
        replace(DAY, day=day, minutes=minutes, expected_minutes=1_440)
        for day, minutes in (("1970-07-16", 1_440), ("1970-07-17", 1_400), ("1970-07-19", 1_300))
    ]
    page = status_routes.html(document("x", at, NOW, days, []))
    assert [page.count(f'class="{kind}"') for kind in ("none", "up", "fair", "down")] == [86, 1, 1, 2]
    assert "1970-07-18: 0.00 %" in page
    assert "1970-07-15: not measured" in page


def test_the_page_and_its_json_are_served(tmp_path: Path) -> None:
    app = build(FakeStore(), create_keys(tmp_path / "keys", "report"))
    assert ask(app, "/status.json").json()["days"] == []
    page = ask(app, "/status")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert ask(app, "/demo/status.css").status_code == 200


def test_every_answer_is_counted_once_whichever_way_it_went(tmp_path: Path) -> None:
    store = FakeStore()
    app = build(store, create_keys(tmp_path / "keys", "report"))
    sampler = app.parts.sampler
    for path in (f"/api/v1/trust/{AGENT}", f"/api/v1/trust/{AGENT}", "/nowhere"):
        ask(app, path)
    store.down = True
    ask(app, "/api/v1/ledger/checkpoint")
    taken = sampler.take()
    assert (taken.requests, taken.failures, sum(taken.buckets)) == (4, 1, 4)
    assert sampler.take().requests == 0


def test_a_time_falls_into_its_bucket() -> None:
    sampler = Sampler("one")
    for seconds in (0.0005, 0.001, 0.0011, 7.0):
        sampler.observe(200, seconds)
    taken = sampler.take()
    assert (taken.buckets[0], taken.buckets[1], taken.buckets[-1]) == (2, 1, 1)
    assert len(taken.buckets) == len(BOUNDS_SECONDS) + 1


def test_the_self_check_verifies_what_is_given_out_with_the_published_keys(tmp_path: Path) -> None:
    ours, strangers = (create_keys(tmp_path / name, "report") for name in ("ours", "strangers"))
    jwks = canonical.dumps(jwks_document([key.public for key in ours]))

    def checked(keys: Any, issuer: str = "i") -> bool | None:
        kept = Reports(FakeStore(), Signer(keys, "i", "d", 300), FakeStandings())
        check = SelfCheck(kept.newest, jwks, issuer)
        assert check.run() is None  # nothing was given out yet
        asyncio.run(kept.get(AGENT))
        return check.run()

    assert checked(ours) is True
    assert checked(strangers) is False
    assert checked(ours, "another") is False


class Away:
    """A ClickHouse that does not answer."""

    async def seal_lag(self) -> float | None:
        raise Retryable("away")


def test_samples_go_on_when_clickhouse_or_kafka_is_away() -> None:
    sent: list[dict[str, Any]] = []

    async def publish(topic: str, key: bytes, value: bytes) -> None:
        assert (topic, key) == (topics.SAMPLES, b"one")
        sent.append(avro.decode_as("OracleSample", value))
        if len(sent) == 1:
            raise Backpressure("full")

    async def run() -> None:
        check = SelfCheck(lambda: None, b'{"keys":[]}', "i")
        task = asyncio.create_task(sample_for_ever(Sampler("one"), check, Away(), publish, 0.01))
        async with asyncio.timeout(10):
            while len(sent) < 2:  # noqa: ASYNC110 - the publisher is a function
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(run())
    assert (sent[1]["checks"], sent[1]["lag_seconds"]) == (0, None)
    assert sent[1]["at_micros"] <= clock.now_micros()
