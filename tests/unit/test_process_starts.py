"""How every process begins: its traces, one look at Kafka, and one clear line if that refuses it."""

from __future__ import annotations

import importlib

import pytest

from pactstream import logs, tracing
from pactstream.errors import Fatal
from pactstream.kafka import reach
from pactstream.metric_kinds import PROCESSES
from pactstream.settings import KafkaSettings, ServiceSettings

ON_KAFKA = {name: module for name, module in PROCESSES.items() if name != "sidecar"}


@pytest.mark.parametrize("process", ON_KAFKA)
def test_it_is_traced_and_says_at_once_that_kafka_refuses_it(
    process: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    traced: list[str] = []

    def refuse(settings: KafkaSettings) -> None:
        assert traced, "tracing begins before anything else does"
        raise Fatal(f"Kafka refuses the user of {settings.kafka_bootstrap}")

    def start(_: ServiceSettings, name: str) -> None:
        traced.append(name)

    monkeypatch.setattr(tracing, "start", start)
    monkeypatch.setattr(reach, "check", refuse)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    monkeypatch.setenv("PACTSTREAM_KAFKA_BOOTSTRAP", "broker.example:9092")
    assert importlib.import_module(ON_KAFKA[process]).main() == 3
    (name,) = traced
    assert capsys.readouterr().err == f"{name}: Kafka refuses the user of broker.example:9092\n"
