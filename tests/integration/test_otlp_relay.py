"""The relay to OpenTelemetry on a real Kafka: from judged records to a collector."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from evaluator_worker.otlp.collector import Collector
from evaluator_worker.otlp.relay import Plan, Relay
from evaluator_worker.otlp.spans import Of, root_id
from pactstream import settings, tracing
from pactstream.devstack.ports import answers, free_port
from pactstream.kafka import config, topics
from pactstream.settings import KafkaSettings, ServiceSettings
from tests.built import tool
from tests.evaluator_tools import AGENT, call
from tests.kafka_tools import create_topics, produce, read_all, service_settings
from tests.otlp_peer import Judge, Peer, Reply, attributes, collecting, moment, partial, session
from tests.stack import eventually

OF = Of("t", AGENT)
BINARY = tool("otelcol")
BEGAN = 1_700_000_000_000_000


@pytest.fixture
def kafka(kafka_bootstrap: str, topic_prefix: str) -> ServiceSettings:
    made = service_settings(kafka_bootstrap, topic_prefix)
    create_topics(made)
    return made


@contextmanager
def relaying(kafka: KafkaSettings, url: str, **changes: Any) -> Iterator[Relay]:
    options: dict[str, Any] = {
        "name": "test",
        "tenants": frozenset(),
        "private": False,
        "history": True,
        "max_spans": 100,
        "linger_seconds": 0.02,
        "sessions": 100,
        "session_hours": 1.0,
        "most_seconds": 0.05,
    }
    collector = Collector(url, {}, "here.example", seconds=5, ca=None)
    relay = Relay(kafka, Plan(**(options | changes)), collector)
    stop = Event()
    thread = Thread(target=relay.run, args=(stop,))
    thread.start()
    try:
        yield relay
    finally:
        stop.set()
        thread.join()


def tools(spans: list[Span]) -> list[str]:
    return [str(attributes(one)["gen_ai.tool.name"]) for one in spans if one.name.startswith("execute_tool")]


def behind(group: str) -> float:
    """What `pactstream_consumer_lag_records` shows of a group."""
    shown = (one for metric in REGISTRY.collect() for one in metric.samples)
    lags = [
        one.value
        for one in shown
        if one.name == "pactstream_consumer_lag_records" and one.labels["group"] == group
    ]
    return sum(lags)


def committed(peer: Peer, kafka: ServiceSettings, judge: Judge) -> None:
    """Wait until what was sent is committed: whoever comes next begins behind it."""
    before = len(peer.requests)
    produce(kafka, topics.EVALUATED, [judge(call(tool="marker"))])
    eventually(lambda: len(peer.requests) > before)


def test_sessions_are_exported_through_outages_once_and_go_on_after_a_restart(kafka: ServiceSettings) -> None:
    judge = Judge()
    with collecting() as peer:
        peer.replies.extend(
            [Reply(503), Reply(429, headers={"Retry-After": "0"}), Reply(401), partial(1, "odd")]
        )
        produce(kafka, topics.EVALUATED, [judge(*session("s-1", call(tool="a")))])
        with relaying(kafka, peer.url) as relay:
            eventually(lambda: len(peer.spans) == 2)
            assert len(peer.requests) == 4
            assert len({one.SerializeToString(deterministic=True) for one in peer.requests}) == 1
            eventually(lambda: relay.ready)
            # A record that is none holds up nothing; a session begins here, and ends in the next process.
            began = [moment("session_start", "s-2", BEGAN), call(tool="b", session_id="s-2")]
            produce(kafka, topics.EVALUATED, [(b"k", b"no batch"), judge(*began)])
            eventually(lambda: tools(peer.spans) == ["a", "b"])
            committed(peer, kafka, judge)
        produce(kafka, topics.EVALUATED, [judge(moment("session_end", "s-2", BEGAN + 7, "success"))])
        with relaying(kafka, peer.url):
            eventually(lambda: any(one.span_id == root_id(OF, "s-2") for one in peer.spans))
        (root,) = [one for one in peer.spans if one.span_id == root_id(OF, "s-2")]
        assert (root.start_time_unix_nano, root.end_time_unix_nano) == (BEGAN * 1_000, (BEGAN + 7) * 1_000)
        assert [one for one in tools(peer.spans) if one != "marker"] == ["a", "b"]


def test_a_record_that_is_there_twice_is_the_same_spans(kafka: ServiceSettings) -> None:
    record = Judge()(*session("s-1", call()))
    produce(kafka, topics.EVALUATED, [record, record])
    own = InMemorySpanExporter()
    traced = kafka.model_copy(update={"tracing_enabled": True})
    with ExitStack() as after:
        tracing.start(traced, "otlp", SimpleSpanProcessor(own))
        after.callback(tracing.stop)
        with collecting() as peer, relaying(kafka, peer.url):
            eventually(lambda: len(peer.spans) == 4)
        assert len({(one.trace_id, one.span_id) for one in peer.spans}) == 2
        # The relay's own traces are another thing: what it took and committed, as of a transaction.
        made = own.get_finished_spans()
    assert {one.name for one in made} == {"process otlp-test"}
    assert sum(int(str((one.attributes or {})["messaging.batch.message_count"])) for one in made) == 4


def test_destinations_do_not_wait_for_each_other_and_get_what_is_theirs(kafka: ServiceSettings) -> None:
    judge = Judge()
    produce(kafka, topics.EVALUATED, [judge(call(tool="before"))])
    away = f"http://127.0.0.1:{free_port()}/v1/traces"
    with collecting() as ours, collecting() as others, collecting() as late:
        with (
            relaying(kafka, away, name="away") as waiting,
            relaying(kafka, ours.url, name="ours", tenants=frozenset({"t"}), private=True),
            relaying(kafka, others.url, name="others", tenants=frozenset({"somebody-else"})),
            relaying(kafka, late.url, name="late", history=False) as new,
        ):
            eventually(lambda: tools(ours.spans) == ["before"])
            eventually(lambda: new.ready and not waiting.ready)
            produce(kafka, topics.EVALUATED, [judge(call(tool="after"))])
            eventually(lambda: tools(ours.spans) == ["before", "after"])
            eventually(lambda: tools(late.spans) == ["after"])
            eventually(lambda: behind("otlp-away") == 2)  # two records wait for who is away
        assert attributes(ours.spans[0])["gen_ai.tool.call.arguments"] == '{"amount":10}'
        assert "gen_ai.tool.call.arguments" not in attributes(late.spans[0])
        assert others.requests == []


@contextmanager
def process(kafka: ServiceSettings, url: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The relay as a process, killed on leaving unless it has ended."""
    ours = {
        "KAFKA_BOOTSTRAP": kafka.kafka_bootstrap,
        "KAFKA_TOPIC_PREFIX": kafka.kafka_topic_prefix,
        "KAFKA_SESSION_SECONDS": str(kafka.kafka_session_seconds),
        "OTLP_DESTINATIONS": json.dumps([{"name": "test", "endpoint": url, "history": True}]),
        "OTLP_PORT": str(port),
        "OTLP_LINGER_SECONDS": "0.02",
        "OTLP_MAX_SPANS": "3",
    }
    environment = settings.environment() | {settings.PREFIX + name: value for name, value in ours.items()}
    with subprocess.Popen([sys.executable, "-m", "evaluator_worker.otlp"], env=environment) as popen:
        try:
            yield popen
        finally:
            popen.kill()


def asked(peer: Peer, times: int) -> Callable[[], bool]:
    return lambda: len(peer.requests) >= times


def test_killed_while_a_collector_is_slow_it_loses_nothing(kafka: ServiceSettings) -> None:
    judge, port = Judge(), free_port()
    names = [f"t{number}" for number in range(20)]
    produce(kafka, topics.EVALUATED, [judge(*session(one, call(tool=one, session_id=one))) for one in names])
    with collecting() as peer:
        for requests in (2, 4):
            # It is killed while a request is unanswered, with others answered before.
            with process(kafka, peer.url, port) as relay:
                eventually(asked(peer, requests), timeout=30)
                peer.answering.clear()
                eventually(asked(peer, len(peer.requests) + 1), timeout=30)
                relay.kill()
            peer.answering.set()
        with process(kafka, peer.url, port) as relay:
            eventually(lambda: set(tools(peer.spans)) == set(names), timeout=30)
            eventually(lambda: len({one.span_id for one in peer.spans}) == 40, timeout=30)
            relay.send_signal(signal.SIGTERM)
            assert relay.wait(20) == 0
    roots = [one for one in peer.spans if one.name == "invoke_agent"]
    assert {one.start_time_unix_nano for one in roots} == {BEGAN * 1_000}


@pytest.mark.skipif(BINARY is None, reason="there is no collector: make tools")
def test_the_real_collector_takes_it(kafka: ServiceSettings, tmp_path: Path) -> None:
    port, topic = free_port(), f"{kafka.kafka_topic_prefix}traces"
    admin = AdminClient(config.client(kafka))
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)
    configuration = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {
            "kafka": {
                "brokers": [kafka.kafka_bootstrap],
                "traces": {"topic": topic, "encoding": "otlp_proto"},
                "sending_queue": {"enabled": False},
            }
        },
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["kafka"]}},
        },
    }
    path = tmp_path / "collector.json"
    path.write_text(json.dumps(configuration))
    produce(kafka, topics.EVALUATED, [Judge()(*session("s-1", call(5_000)))])
    with subprocess.Popen([BINARY or "", "--config", str(path)], stderr=subprocess.DEVNULL) as collector:
        try:
            eventually(lambda: answers(port), timeout=30)
            with relaying(kafka, f"http://127.0.0.1:{port}/v1/traces"):
                (message,) = eventually(lambda: read_all(kafka, "traces"), timeout=20)
        finally:
            collector.terminate()
    found = TracesData.FromString(message.value() or b"")
    spans = [span for one in found.resource_spans for scope in one.scope_spans for span in scope.spans]
    assert [one.name for one in spans] == ["execute_tool transfer_funds", "invoke_agent"]
    assert attributes(spans[0])["pactstream.severity"] == "critical"
    assert spans[0].parent_span_id == spans[1].span_id == root_id(OF, "s-1")
