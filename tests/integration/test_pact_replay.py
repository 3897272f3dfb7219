"""`pactstream pact replay` on a real broker: recorded calls under a version that is not in force yet."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from pactstream import avro, clock
from pactstream.control.pacts import PactVersion
from pactstream.kafka import config, topics
from pactstream.pacts import parse_pact
from pactstream.settings import ServiceSettings
from tests.cli_tools import Run, runner
from tests.kafka_tools import create_topics, produce, service_settings

AGENT, OTHER = "76cf31d6-ffe3-4a5c-8748-021114aa8066", "76cf31d6-ffe3-4a5c-8748-021114aa8067"
PACT, SECOND_PACT = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
HOUR_MICROS = 3_600 * clock.MICROS_PER_SECOND


def pact(most: int, *, day: int | None = None, **members: Any) -> dict[str, Any]:
    rule = {"paramPath": "amount", "required": True, "valueRange": {"max": most}}
    conditions: list[dict[str, Any]] = [
        {"type": "param_binding", "severity": "major", "parameterBinding": {"tool": "pay", "rules": [rule]}}
    ]
    if day is not None:
        window = {
            "aggregate": "sum",
            "tools": ["pay"],
            "paramPath": "amount",
            "over": {"sliding": "P1D"},
            "limit": day,
        }
        conditions.append({"type": "window", "severity": "critical", "window": window})
    return {"name": "Payments", "conditions": conditions, **members}


def version(number: int, document: dict[str, Any], pact_id: str = PACT) -> tuple[bytes, bytes]:
    parsed = parse_pact(document)
    recorded = PactVersion(
        pact_id, number, "t", AGENT, "Payments", parsed.canonical, parsed.hash, clock.now_micros(), "k"
    )
    return recorded.key.encode(), recorded.encode()


def call(amount: object, *, number: int = 1, pact_id: str | None = PACT, ago: int = 0) -> dict[str, Any]:
    return {
        "type": "tool_call",
        "event_id": str(uuid.uuid4()),
        "session_id": "s-1",
        "occurred_at_micros": clock.now_micros() - ago,
        "pact_id": pact_id,
        "pact_version": None if pact_id is None else number,
        "tool": "pay",
        "params": json.dumps({"amount": amount}).encode(),
        "outcome": "success",
    }


def record(settings: ServiceSettings, *events: dict[str, Any], agent: str = AGENT, ago: int = 0) -> None:
    """A batch as the gateway wrote it that long ago."""
    now = clock.now_micros() - ago
    batch = {
        "tenant_id": "t",
        "tenant_pseudonym": "tenant-1",
        "agent_id": agent,
        "key_id": "k",
        "request_id": "r",
        "received_at_micros": now,
        "events": list(events),
    }
    producer = Producer(config.producer(settings))
    value = avro.encode("TelemetryBatch", batch)
    producer.produce(topics.name(settings, topics.BATCHES), value, agent.encode(), timestamp=now // 1_000)
    assert producer.flush(30) == 0


@pytest.fixture
def settings(kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
    monkeypatch.setenv("PACTSTREAM_KAFKA_BOOTSTRAP", kafka_bootstrap)
    monkeypatch.setenv("PACTSTREAM_KAFKA_TOPIC_PREFIX", topic_prefix)
    ours = service_settings(kafka_bootstrap, topic_prefix)
    create_topics(ours)
    produce(ours, topics.PACTS, [version(1, pact(100)), version(2, pact(1_000))])
    return ours


@pytest.fixture
def pactstream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def write(directory: Path, document: dict[str, Any]) -> Path:
    file = directory / "new.pact.json"
    file.write_text(json.dumps(document))
    return file


def table(out: str, heading: str) -> list[list[str]]:
    """The rows below a heading, up to an empty line or the end."""
    lines = out.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(heading))
    rows: list[list[str]] = []
    for line in lines[start + 1 :]:
        if not line.strip():
            break
        rows.append(line.split())
    return rows


def test_each_call_is_judged_by_the_version_it_was_stamped_with_and_by_the_new_one(
    settings: ServiceSettings, pactstream: Run, tmp_path: Path
) -> None:
    twice = call(60)
    record(settings, call(50), call(60), twice, call("x"))
    record(settings, twice, call(60, number=2), call(500, number=2), call(40, number=9))
    record(settings, call(5_000), agent=OTHER)
    record(settings, call(5_000), call(70), ago=30 * HOUR_MICROS)
    record(settings, call(1, pact_id=None))
    produce(settings, topics.BATCHES, [(AGENT.encode(), b"junk")])
    new = write(tmp_path, pact(55, agentId=AGENT))

    code, out, err = pactstream("pact", "replay", new, "--since", "24h")
    assert (code, err) == (1, "")
    assert out.startswith(f"7 calls under pact {PACT}, version 1, 2, 9, in the last 24h\n")
    assert sorted(table(out, "calls")) == [
        ["1", "major", "major"],
        ["1", "unknown", "version", "valid"],
        ["1", "valid", "valid"],
        ["4", "valid", "major"],
    ]
    assert table(out, "tool") == [["pay", "amount", "valueRange", "1", "5"]]
    changed = table(out, "event")
    assert [row[0] for row in changed].count(twice["event_id"]) == 1
    assert {tuple(row[2:]) for row in changed} == {("pay", "valid", "major", "amount", "(valueRange)")}
    assert out.endswith("\nvalid then, violated now: 4; violated then, valid now: 0\n")
    # Values are private: none stands in the report.
    assert re.search(r"(?<![\w-])500(?![\w-])", out) is None

    # Two days hold the older calls too; a looser pact breaks nothing.
    looser = write(tmp_path, pact(10_000))
    code, out, _ = pactstream("pact", "replay", looser, "--agent", AGENT, "--since", "2d")
    assert code == 0
    assert out.startswith("9 calls")
    assert out.endswith("valid then, violated now: 0; violated then, valid now: 1\n")


def test_a_window_is_filled_by_the_calls_before_the_time_that_is_counted(
    settings: ServiceSettings, pactstream: Run, tmp_path: Path
) -> None:
    record(settings, call(90, ago=3 * HOUR_MICROS), ago=3 * HOUR_MICROS)
    record(settings, call(20))
    new = write(tmp_path, pact(100, day=100, agentId=AGENT))
    code, out, _ = pactstream("pact", "replay", new, "--since", "1h")
    assert code == 1
    assert table(out, "calls") == [["1", "valid", "critical"]]


def test_what_cannot_be_replayed_is_one_clear_line(
    settings: ServiceSettings, pactstream: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    produce(settings, topics.PACTS, [version(1, pact(100), SECOND_PACT)])
    record(settings, call(1), call(1, pact_id=SECOND_PACT))
    ours, anyones = write(tmp_path, pact(100, agentId=AGENT)), tmp_path / "anyones.json"
    anyones.write_text(json.dumps(pact(100)))
    stranger = "33333333-3333-4333-8333-333333333333"
    for arguments, says in [
        ((ours,), "the calls are under several pacts"),
        ((anyones,), "the pact names no agent: say whose calls with --agent or --pact-id"),
        ((anyones, "--agent", "Atlas"), "'Atlas' is not an agent id (UUID)"),
        ((anyones, "--agent", stranger), f"no call of agent {stranger} under a pact was recorded"),
        ((ours, "--agent", stranger), f"the pact is for agent {AGENT}, not for {stranger}"),
        ((ours, "--pact-id", "7"), "'7' is not a pact id (UUID)"),
        ((ours, "--since", "yesterday"), "'yesterday' is not a duration such as 30m, 24h or 7d"),
        ((tmp_path / "none.json",), f"cannot read {tmp_path / 'none.json'}: No such file"),
    ]:
        code, out, err = pactstream("pact", "replay", *arguments)
        assert (code, out, err.count("\n")) == (3, "", 1), err
        assert err.startswith(f"pactstream: {says}")
    assert pactstream("pact", "replay", ours, "--pact-id", SECOND_PACT).out.startswith("1 call under pact 2222")
    monkeypatch.setenv("PACTSTREAM_KAFKA_TOPIC_PREFIX", "nowhere.")
    assert "pactstream topics apply" in pactstream("pact", "replay", ours).err
