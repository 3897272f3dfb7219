"""Dead letters on a real broker: none blocks its partition, each says where it came from and goes back once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Barrier, Event, Thread
from typing import Any

import msgspec
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from evaluator_worker.agents import Memory
from evaluator_worker.task import EvaluatorTask
from pactstream import avro
from pactstream.errors import Fatal, InvalidInput, Retryable
from pactstream.kafka import config, dlq, topics
from pactstream.kafka.letters import Position
from pactstream.kafka.processor import Plan, Processor
from pactstream.ledger.leaf import Leaf, parse_leaf
from pactstream.pacts import CompiledPact, compile_pact, parse_pact, templates
from pactstream.settings import ServiceSettings
from tests.cli_tools import Run, runner
from tests.kafka_tools import create_topics, produce, read_all, service_settings
from tests.stack import eventually

AGENT = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
TENANT = "22222222-2222-4222-8222-222222222222"
READABLE, UNREADABLE = "11111111-1111-4111-8111-111111111111", "99999999-9999-4999-8999-999999999999"
QUEUE = topics.BATCHES + ".dlq"


class Pacts:
    """Stands for a `PactBook`; one of its pacts was written by a newer release, until `upgraded`."""

    def __init__(self) -> None:
        self.upgraded = False
        pact = parse_pact(templates.load("treasury"))
        self._compiled = {one: compile_pact(pact, pact_id=one, version=1) for one in (READABLE, UNREADABLE)}

    def compiled(self, pact_id: str, version: int, *, timeout_seconds: float = 0) -> CompiledPact:
        if pact_id == UNREADABLE and not self.upgraded:
            raise InvalidInput("the recorded document is no pact")
        return self._compiled[pact_id]

    def owner(self, pact_id: str, version: int) -> str | None:
        return None


def call(pact_id: str | None = READABLE, **changes: Any) -> dict[str, Any]:
    return {
        "type": "tool_call",
        "event_id": str(uuid.uuid4()),
        "session_id": "s-1",
        "occurred_at_micros": 1_700_000_000_000_000,
        "pact_id": pact_id,
        "pact_version": None if pact_id is None else 1,
        "tool": "get_balance",
        "params": b'{"account":"operations"}',
        "outcome": "success",
    } | changes


def batch(*events: dict[str, Any]) -> bytes:
    record = {
        "tenant_id": TENANT,
        "tenant_pseudonym": "tenant-1",
        "agent_id": AGENT,
        "key_id": "k",
        "request_id": "r",
        "received_at_micros": 1_700_000_000_000_000,
        "events": list(events),
    }
    return avro.encode("TelemetryBatch", record)


@contextmanager
def evaluating(settings: ServiceSettings, pacts: Pacts) -> Iterator[None]:
    """An evaluator in a thread, stopped on leaving."""
    memory = Memory(events=10_000, hours=24)
    plan = Plan(
        group="evaluator",
        source=topics.BATCHES,
        changelog=topics.EVALUATOR_STATE,
        make_task=lambda partition: EvaluatorTask(partition, pacts, memory),
        max_events=1_000,
        linger_seconds=0.01,
    )
    stop, processor = Event(), Processor(settings, plan)
    thread = Thread(target=processor.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def settings(kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
    monkeypatch.setenv("PACTSTREAM_KAFKA_BOOTSTRAP", kafka_bootstrap)
    monkeypatch.setenv("PACTSTREAM_KAFKA_TOPIC_PREFIX", topic_prefix)
    ours = service_settings(kafka_bootstrap, topic_prefix)
    create_topics(ours)
    return ours


@pytest.fixture
def pactstream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def leaves(settings: ServiceSettings) -> list[Leaf]:
    batches = [avro.decode_as("EvaluatedBatch", one.value()) for one in read_all(settings, topics.EVALUATED)]
    return [parse_leaf(event["leaf"]) for one in batches for event in one["events"]]


def judged(settings: ServiceSettings, count: int) -> list[Leaf]:
    eventually(lambda: len(leaves(settings)) >= count, timeout=30, interval=0.1)
    found = leaves(settings)
    assert len(found) == count
    return found


def refused(settings: ServiceSettings, values: list[bytes]) -> None:
    """Put letters into the queue by hand, as if each value had been refused at the offset of its index."""
    producer = Producer(config.producer(settings))
    for offset, value in enumerate(values):
        headers: dict[str, str | bytes | None] = {
            "error.class": b"InvalidInput",
            "error.message": b"planned",
            "source.topic": topics.name(settings, topics.BATCHES).encode(),
            "source.partition": b"0",
            "source.offset": str(offset).encode(),
            "trace": b"t-1",
        }
        producer.produce(topics.name(settings, QUEUE), value, b"k%d" % offset, 0, headers=headers)
    assert producer.flush(30) == 0


def replayed(settings: ServiceSettings) -> list[bytes]:
    return [message.value() or b"" for message in read_all(settings, topics.BATCHES)]


def test_no_record_holds_up_its_partition_and_each_is_named(settings: ServiceSettings, pactstream: Run) -> None:
    key = AGENT.encode()
    # Fits the topic, but no longer with a dead letter's headers around it.
    oversize = bytes(config.MAX_MESSAGE_BYTES - 200)
    tiny = b"{" + b",".join(b'"p%d":1' % n for n in range(128)) + b"}"
    records: list[tuple[bytes, bytes | None]] = [
        (key, batch(call())),
        (key, b"junk"),
        (key, oversize),
        (key, None),
        (b"another", batch(call())),
        (key, batch(call(), call(event_id="not-a-uuid"), call())),
        # Half a megabyte that becomes more than one record takes.
        (key, batch(*(call(params=tiny) for _ in range(500)))),
        (key, batch(call())),
    ]
    produce(settings, topics.BATCHES, records)
    with evaluating(settings, Pacts()):
        found = judged(settings, 504)
    assert [leaf.sequence for leaf in found] == [*range(1, 505)]
    letters = dlq.read(settings, topics.BATCHES)
    full = topics.name(settings, topics.BATCHES)
    assert [(one.source_topic, one.source, one.event_index, one.tenant) for one in letters] == [
        (full, Position(0, 1), None, None),
        (full, Position(0, 2), None, None),
        (full, Position(0, 3), None, None),
        (full, Position(0, 4), None, TENANT),
        (full, Position(0, 5), 1, TENANT),
    ]
    assert [one.omitted_bytes for one in letters] == [None, len(oversize), None, None, None]

    code, out, _ = pactstream("dlq", "list")
    lines = out.splitlines()
    assert (code, len(lines)) == (0, 6)
    assert f"{full}[0]@5" in lines[5]
    assert TENANT in lines[5]
    assert "eventId is not a UUID" in lines[5]
    assert f"{len(oversize)} (not kept)" in lines[2]

    code, out, err = pactstream("dlq", "show", "--all")
    assert code == 0
    assert "private" in err
    shown = [msgspec.json.decode(one) for one in _documents(out)]
    assert shown[0]["hex"] == b"junk".hex()
    assert shown[1]["omittedBytes"] == len(oversize)
    (event,) = shown[4]["TelemetryBatch"]["events"]
    assert (event["event_id"], event["params"]) == ("not-a-uuid", {"account": "operations"})

    code, _, err = pactstream("dlq", "replay", "--at", letters[1].position)
    assert code == 3
    assert err.startswith(f"pactstream: the dead letter at {letters[1].position} does not hold its")


def _documents(out: str) -> list[str]:
    decoder, documents, rest = json.JSONDecoder(), [], out.strip()
    while rest:
        _, end = decoder.raw_decode(rest)
        documents.append(rest[:end])
        rest = rest[end:].strip()
    return documents


def test_a_replayed_event_is_judged_once_and_its_neighbours_are_not_judged_again(
    settings: ServiceSettings, pactstream: Run
) -> None:
    pacts = Pacts()
    late = call(UNREADABLE)
    neighbours = [call(), call()]
    value = batch(neighbours[0], late, neighbours[1])
    produce(settings, topics.BATCHES, [(AGENT.encode(), value)])
    with evaluating(settings, pacts):
        judged(settings, 2)
    pacts.upgraded = True
    assert pactstream("dlq", "replay", "--all") == (
        0,
        "telemetry.batches 0:0: replayed\n1 letter replayed\n",
        "",
    )
    assert pactstream("dlq", "list").out == "no dead letters\n"
    # Somebody also sends the whole batch again: the evaluator knows every event in it.
    produce(settings, topics.BATCHES, [(AGENT.encode(), value), (AGENT.encode(), batch(call()))])
    with evaluating(settings, pacts):
        found = judged(settings, 4)
    assert [leaf.event_id for leaf in found][:3] == [
        neighbours[0]["event_id"],
        neighbours[1]["event_id"],
        late["event_id"],
    ]
    assert [leaf.sequence for leaf in found] == [1, 2, 3, 4]
    assert found[2].verdict is not None

    code, out, err = pactstream("dlq", "replay", "--at", "0:0")
    assert (code, out) == (3, "")
    assert err == "pactstream: the dead letter at 0:0 was replayed already\n"


def test_a_replay_keeps_key_bytes_and_headers_and_skips_what_is_handled(
    settings: ServiceSettings, pactstream: Run
) -> None:
    refused(settings, [b"zero", b"one", b"two"])
    assert pactstream("dlq", "discard", "--at", "0:1").code == 0
    assert pactstream("dlq", "replay", "--at", "0:2", "--at", "0:0", "--at", "0:2").code == 0
    messages = read_all(settings, topics.BATCHES)
    assert [(one.key(), one.value(), one.partition()) for one in messages] == [
        (b"k0", b"zero", 0),
        (b"k2", b"two", 0),
    ]
    assert messages[0].headers() == [("trace", b"t-1")]
    assert pactstream("dlq", "list").out == "no dead letters\n"
    states = [line.split()[4] for line in pactstream("dlq", "list", "--handled").out.splitlines()[1:]]
    assert states == ["replayed", "discarded", "replayed"]
    # Thinking better of it is possible, once.
    assert pactstream("dlq", "replay", "--at", "0:1").code == 0
    assert pactstream("dlq", "discard", "--at", "0:1").code == 3
    assert replayed(settings) == [b"zero", b"two", b"one"]


@pytest.mark.parametrize("persisted", [False, True], ids=["before the commit", "after the commit"])
def test_a_replay_that_dies_at_the_commit_and_is_run_again_writes_each_letter_once(
    settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch, persisted: bool
) -> None:
    class Dying(Producer):
        def commit_transaction(self, *arguments: Any) -> None:
            if persisted:
                super().commit_transaction(*arguments)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "planned"))

        def abort_transaction(self, *arguments: Any) -> None:
            """A process that is gone aborts nothing."""

    values = [b"%d" % n for n in range(5)]
    refused(settings, values)
    with monkeypatch.context() as patched:
        patched.setattr(dlq, "Producer", Dying)
        with pytest.raises(Retryable, match="run the same again"):
            dlq.settle(settings, topics.BATCHES, None, "replayed")
    done = dlq.settle(settings, topics.BATCHES, None, "replayed")
    assert len(done) == (0 if persisted else 5)
    assert replayed(settings) == values


def test_two_who_replay_at_once_write_each_letter_once(
    settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dlq, "_MAX_LETTERS", 3)
    values = [b"%d" % n for n in range(30)]
    refused(settings, values)
    start = Barrier(2)
    counts: list[int] = []

    def replay() -> None:
        start.wait()
        while True:
            try:
                counts.append(len(dlq.settle(settings, topics.BATCHES, None, "replayed")))
                return
            except Retryable:
                continue

    threads = [Thread(target=replay) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(counts) == 2
    assert sorted(replayed(settings)) == sorted(values)


def test_what_cannot_be_replayed_is_refused_in_one_line(settings: ServiceSettings, pactstream: Run) -> None:
    assert pactstream("dlq", "replay", "telemetry.evaluated", "--all").err.startswith(
        "pactstream: telemetry.evaluated cannot be replayed: its records are links"
    )
    for arguments, says in [
        (("replay",), "say which: --at POSITION"),
        (("replay", "--all", "--at", "0:1"), "say which"),
        (("discard", "--at", "7"), "'7' is not a position such as 0:12"),
        (("discard", "--at", "0:7"), "there is no dead letter at 0:7"),
        (("show", "--at", "0:7"), "there is no dead letter at 0:7"),
        (("list", "pacts"), "pacts has no dead letter queue; these topics have: telemetry.batches"),
    ]:
        code, out, err = pactstream("dlq", *arguments)
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert err.startswith(f"pactstream: {says}")


def test_a_missing_topic_is_named(kafka_bootstrap: str, topic_prefix: str) -> None:
    bare = service_settings(kafka_bootstrap, topic_prefix)
    with pytest.raises(Fatal, match="pactstream topics apply"):
        dlq.settle(bare, topics.BATCHES, None, "replayed")
