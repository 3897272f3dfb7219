"""State outlives the program that wrote it: later ones read it and write it anew, earlier ones refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import fastavro
import pytest

from evaluator_worker.task import EvaluatorTask
from pactstream import avro
from pactstream.errors import Fatal
from pactstream.kafka import topics
from tests import state_records
from tests.evaluator_tools import AGENT, HOUR, Pacts, Written, call, record, task
from tests.state_records import Kept

FILES = sorted(state_records.DIRECTORY.glob("state-*.jsonl"))
_CACHED = (avro.registered, avro._encoder, avro._decoder, avro._by_id, avro._latest)


def schema_id(value: bytes) -> int:
    return int.from_bytes(value[1:5], "big")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_was_written_is_read_and_written_again(file: Path) -> None:
    """Bytes inside a record have no version but the record's: who changes them gives the record another."""
    latest = {one.name: one.id for one in avro.registered() if not one.subject.startswith("page.deliveries")}
    for kept in state_records.read(file):
        written = state_records.again(kept)
        name = avro.decode(kept.value)[0] if kept.topic != state_records.STORE else None
        if name is None or schema_id(kept.value) == latest[name]:
            assert written == kept.value, (
                f"{kept.key!r} of {kept.topic}: another form, so another schema version"
            )
        else:
            assert schema_id(written) == latest[name]


def test_every_kind_of_state_is_kept_in_its_newest_form() -> None:
    kept = {schema_id(one.value) for file in FILES for one in state_records.read(file)}
    newest: dict[str, int] = {}
    for one in avro.registered():
        if one.subject.startswith(tuple(f"{topic}-" for topic in state_records.TOPICS)):
            newest[one.name] = one.id
    assert set(newest.values()) <= kept, "python -m tests.state_records"
    assert {one.topic for file in FILES for one in state_records.read(file)} >= set(state_records.TOPICS)


def restored(records: list[Kept]) -> EvaluatorTask:
    found = task(pacts=Pacts(state_records.DOCUMENT))
    for one in records:
        if one.topic == topics.EVALUATOR_STATE:
            found.restore(one.key, one.value)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_evaluator_goes_on_with_it(file: Path) -> None:
    records = state_records.read(file)
    head = avro.decode_as("AgentChain", next(one.value for one in records if one.key == AGENT.encode()))
    written = Written()
    repeated = call(20, event_id=state_records.event_id(1))
    restored(records).process(record(repeated, call(30, tool="transfer_funds"), received=HOUR + 1), written)
    leaf, *_ = written.leaves()
    assert (leaf.sequence, leaf.previous) == (6, head["head"].hex())
    assert leaf.verdict is not None
    # Four transfers of 20 are remembered: this is the one too many.
    assert [one.rule for one in leaf.verdict.violations] == ["window"]


@pytest.fixture
def tomorrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The next version of `AgentChain` is there; yields its id."""
    today = avro.registered()
    last = next(one for one in today if one.name == "AgentChain")
    text = json.loads(last.text)
    text["fields"].append({"name": "since_micros", "type": ["null", "long"], "default": None})
    schema = fastavro.parse_schema(text, named_schemas={})
    added = last._replace(id=today[-1].id + 1, version=2, text=json.dumps(text), schema=schema)
    with monkeypatch.context() as patched:
        forget()
        patched.setattr(avro, "registered", lambda: (*today, added))
        yield added.id
    forget()


def forget() -> None:
    for one in _CACHED:
        if hasattr(one, "cache_clear"):
            one.cache_clear()


def state_of(written: Written) -> list[Kept]:
    return [
        Kept(topics.EVALUATOR_STATE, key, value or b"") for key, value in written.of(topics.EVALUATOR_STATE)
    ]


def test_a_newer_worker_writes_older_state_anew(tomorrow: int) -> None:
    written = Written()
    worker = restored(state_records.read(FILES[-1]))
    worker.process(record(call(1)), written)
    worker.flush(written)
    (chain,) = [one for one in state_of(written) if one.key == AGENT.encode()]
    assert schema_id(chain.value) == tomorrow
    assert avro.decode_as("AgentChain", chain.value)["sequence"] > 5


def test_an_older_worker_refuses_newer_state() -> None:
    newer = avro.registered()[-1].id + 1
    worker, written = task(), Written()
    worker.restore(AGENT.encode(), b"\0" + newer.to_bytes(4, "big") + b"\x0a" + bytes(33))
    with pytest.raises(Fatal, match=f"schema id {newer}, this program knows ids up to {newer - 1}"):
        worker.process(record(call(1)), written)
    assert written.records == []
