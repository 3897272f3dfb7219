"""What `Telemetry` refuses to be made with, and what importing the SDK does not drag in."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

import pactstream
from pactstream.sdk import Telemetry, TelemetryProblem
from pactstream.sdk.config import Secret
from pactstream.sdk.reports import Reports
from pactstream.sdk.transport import MAX_RETRY_AFTER_SECONDS, retry_after_seconds
from tests.sdk_gateway import AGENT, KEY

GOOD: dict[str, Any] = {"api_key": KEY, "base_url": "https://gateway.example", "agent_id": AGENT}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"api_key": ""}, "api_key is empty"),
        ({"api_key": "two words"}, "api_key must be"),
        ({"api_key": "line\nbreak"}, "api_key must be"),
        ({"api_key": None}, "api_key must be"),
        ({"agent_id": "atlas"}, "agent_id must be a UUID"),
        ({"agent_id": 5}, "agent_id must be a UUID"),
        ({"pact_id": "treasury"}, "pact_id must be a UUID"),
        ({"base_url": "gateway.example"}, "http or https"),
        ({"base_url": "ftp://gateway.example"}, "http or https"),
        ({"base_url": "https://"}, "http or https"),
        ({"base_url": "https://gateway.example?x=1"}, "http or https"),
        ({"base_url": "https://user:word@gateway.example"}, "must not hold credentials"),
        ({"base_url": "http://gateway.example"}, "plain http"),
        ({"base_url": "http://10.0.0.1"}, "plain http"),
        ({"base_url": "http://localhost.example"}, "plain http"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 501}, "batch_size"),
        ({"max_buffered_events": 24}, "max_buffered_events"),
        ({"max_buffered_bytes": 0}, "max_buffered_bytes"),
        ({"flush_interval_seconds": 0}, "flush_interval_seconds"),
        ({"request_timeout_seconds": float("nan")}, "request_timeout_seconds"),
        ({"block_on": "fatal"}, "block_on"),
        ({"preflight_unavailable": "maybe"}, "preflight_unavailable"),
    ],
)
def test_misuse_is_refused_when_it_is_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Telemetry(**(GOOD | options))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "base_url",
    [
        "https://gateway.example/prefix/",
        "http://127.0.0.1:8080",
        "http://127.9.9.9",
        "http://localhost:1",
        "http://gateway.localhost",
        "http://[::1]:8080",
    ],
)
def test_https_and_loopback_are_fine(base_url: str) -> None:
    tel = Telemetry(**(GOOD | {"base_url": base_url}))
    assert repr(tel) == f"Telemetry(base_url={base_url.rstrip('/')!r}, agent_id={AGENT!r})"
    assert tel.close()


def test_plain_http_elsewhere_must_be_asked_for() -> None:
    Telemetry(**(GOOD | {"base_url": "http://10.0.0.1"}), allow_insecure=True).close()


def test_the_key_shows_nowhere() -> None:
    tel = Telemetry(**GOOD)
    recorder = tel._recorder
    shown = f"{tel!r} {recorder.config!r} {vars(recorder)} {Secret(KEY)} {vars(recorder._transport)}"
    try:
        recorder.config.api_key.nothing  # type: ignore[attr-defined]  # noqa: B018
    except AttributeError as error:
        shown += "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert KEY not in shown
    tel.close()


HEAVY = [
    "aiokafka",
    "chdb",
    "clickhouse_connect",
    "confluent_kafka",
    "fastapi",
    "fastavro",
    "pydantic",
    "pydantic_settings",
    "rich",
    "typer",
    "uvicorn",
]
IMPORTS = """
import json, sys
import pactstream
after_pactstream = sorted(sys.modules)
assert pactstream.__version__
from pactstream import Telemetry
json.dump([after_pactstream, sorted(sys.modules)], sys.stdout)
"""


def test_importing_the_sdk_loads_nothing_of_the_services() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    first, all_modules = json.loads(done.stdout)
    assert [name for name in first if name.startswith("pactstream")] == ["pactstream"]
    assert "urllib3" not in first
    assert "pactstream.sdk.telemetry" in all_modules
    assert [name for name in HEAVY if name in all_modules] == []


def test_the_package_offers_the_sdks_names() -> None:
    for name in pactstream.__all__:
        assert getattr(pactstream, name) is not None
    assert pactstream.Telemetry is Telemetry
    with pytest.raises(AttributeError, match="no attribute 'Telemetrie'"):
        pactstream.Telemetrie  # noqa: B018


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        (" 7 ", 7),
        ("7.5", None),
        ("-1", None),
        ("soon", None),
        ("²", None),
        ("9" * 5_000, MAX_RETRY_AFTER_SECONDS),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_SECONDS),
        ("Fri, 99 Dec 9999 99:99:99 GMT", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header) == seconds


def test_retry_after_as_a_date_is_relative_to_now() -> None:
    header = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    seconds = retry_after_seconds(header)
    assert seconds is not None
    assert 25 < seconds <= 30


def test_reports_are_rate_limited_by_kind_and_lose_no_count(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [100.0]
    monkeypatch.setattr("pactstream.sdk.reports.clock.monotonic_seconds", lambda: now[0])
    told: list[TelemetryProblem] = []
    reports = Reports(told.append, interval_seconds=10)
    caplog.set_level(logging.WARNING)
    for _ in range(50):
        reports.report("dropped", "full")
    reports.report("invalid", "what")
    assert [(p.kind, p.count) for p in told] == [("dropped", 1), ("invalid", 1)]
    now[0] += 9.9
    reports.catch_up()
    assert len(told) == 2
    now[0] += 0.2
    reports.catch_up()
    assert [(p.kind, p.count) for p in told[2:]] == [("dropped", 49)]
    reports.report("dropped", "full", count=7)
    reports.catch_up(force=True)
    assert [(p.kind, p.count) for p in told[3:]] == [("dropped", 7)]
    assert reports.count("dropped") == 57
    assert len(caplog.records) == len(told)


def test_a_problem_reported_from_within_on_error_does_not_go_round_for_ever() -> None:
    reports: Reports

    def again(problem: TelemetryProblem) -> None:
        reports.report("dropped", "from within")

    reports = Reports(again)
    reports.report("dropped", "first")
    assert reports.count("dropped") == 2
