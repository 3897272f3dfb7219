"""State as workers of today write it, kept for those of tomorrow: `python -m tests.state_records`.

Makes `tests/data/state-<newest schema id>.jsonl`, one record a line: topic, key, value in hexadecimal. The
files of earlier programs stay: every later one must read them. A new one is due when a state's schema changes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from evaluator_worker import holds
from evaluator_worker.anomaly.state import State
from evaluator_worker.anomaly.stream import advance
from evaluator_worker.behaviour.task import BehaviourTask
from evaluator_worker.behaviour.window import Window
from evaluator_worker.paging import memory
from pactstream import avro, clock
from pactstream.kafka import topics
from pactstream.kafka.disk_store import Mark, Origin, _decode_mark, _encode_mark
from pactstream.ledger import merkle
from pactstream.pacts import Claim, PactState
from pactstream.pacts.figures import Share
from pactstream.scores.evidence import Day
from pactstream.webhooks.records import Told, decode_told
from score_aggregator.state import AgentState
from score_aggregator.task import ScoreTask
from tests import anomaly_tools, behaviour_tools, pact_calls, score_tools
from tests.evaluator_tools import AGENT, HOUR, PACT, Pacts, Written, call, record, task
from tests.paging_tools import Paging

DIRECTORY: Final = Path(__file__).parent / "data"
STORE: Final = "store on disk"
"""In the place of a topic: the mark of a RocksDB store."""
TOPICS: Final = (
    topics.EVALUATOR_STATE,
    topics.HOLDS,
    topics.SEALER_STATE,
    topics.AGGREGATOR_STATE,
    topics.WEBHOOK_STATE,
    topics.BEHAVIOUR_STATE,
    topics.ANOMALY_STATE,
    topics.PAGING_STATE,
)
DOCUMENT: Final = pact_calls.document(
    pact_calls.window(
        "critical", tools=["transfer_funds"], aggregate="sum", limit=100, over={"sliding": "PT1H"}
    ),
    pact_calls.window(
        "minor", tools=["transfer_funds"], aggregate="distinct", limit=9, over={"sliding": "PT1H"}
    ),
    pact_calls.sequence("minor", requires={"tool": "transfer_funds", "after": "verify"}),
)


class Kept(NamedTuple):
    """One record of a changelog."""

    topic: str
    key: bytes
    value: bytes


def evaluator(written: Written) -> None:
    """An agent after five calls, of which two sums are near their limits."""
    ours = task(pacts=Pacts(DOCUMENT))
    ours.process(record(*(call(20, event_id=event_id(n), tool=tool(n)) for n in range(5))), written)
    ours.flush(written)


def event_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def tool(number: int) -> str:
    return "verify" if number == 0 else "transfer_funds"


def newest(written: Written, topic: str) -> Iterable[Kept]:
    """What compaction leaves."""
    return [Kept(topic, key, value) for key, value in dict(written.of(topic)).items() if value is not None]


def made() -> list[Kept]:
    """One file's records."""
    written = Written()
    evaluator(written)
    evaluated = written.of(topics.EVALUATED)
    claims = (Claim("ab" * 16, "cd" * 16, Share(Decimal("12.50"), frozenset({b"x"}))),)
    hold = holds.Hold(AGENT, holds.name_of("t", "r"), HOUR, 2 * HOUR, b"q", PACT, 1, "ef" * 32, "pay", claims)
    tree = merkle.Frontier()
    for _, value in evaluated:
        for event in avro.decode_as("EvaluatedBatch", value)["events"]:
            tree.append(merkle.leaf_hash(event["leaf"]))
    sealed = {"tree_size": 5, "frontier": tree.peaks(), "next_segment": 1, "next_offset": 9}
    scores = ScoreTask(1)
    day = [*score_tools.atlas(), score_tools.attests("capability", level=3)]
    scores.process(score_tools.batch(1, day, received=clock.now_micros()), written)
    scores.flush(written)
    behaviour = BehaviourTask(0)
    behaviour.process(behaviour_tools.batch([behaviour_tools.event()], received=behaviour_tools.START), written)
    behaviour.flush(written)
    paging = Paging()
    paging.send(call(5_000))
    told = Told(0.96, "trusted", 1, {AGENT: "active"})
    return [
        *newest(written, topics.EVALUATOR_STATE),
        Kept(topics.HOLDS, hold.key.encode(), hold.encode()),
        Kept(
            topics.SEALER_STATE,
            b"0",
            avro.encode("SealerState", sealed | {"last_segment_hash": bytes(range(32))}),
        ),
        *newest(written, topics.AGGREGATOR_STATE),
        Kept(topics.WEBHOOK_STATE, b"score/" + AGENT.encode(), told.encode()),
        *newest(written, topics.BEHAVIOUR_STATE),
        Kept(topics.ANOMALY_STATE, AGENT.encode(), anomalies()),
        *newest(paging.written, topics.PAGING_STATE),
        Kept(STORE, b"m", _encode_mark(Mark(Origin("cluster", topics.EVALUATOR_STATE, "id", 3), 7, HOUR))),
    ]


def anomalies() -> bytes:
    """What the search for anomalies knows after some minutes."""
    state: bytes | None = None
    for _, windows in anomaly_tools.fleet(0, 8, tenants=2):
        for one in windows.values():
            value = avro.encode("BehaviourWindow", one | {"revision": 1})
            state = advance(state, AGENT.encode(), value, anomaly_tools.LEVEL).state or state
    return state or b""


def again(kept: Kept) -> bytes:
    """The record read by the code that reads it, and written by the code that writes it."""
    if kept.topic == STORE:
        return bytes(_encode_mark(_decode_mark(kept.value)))
    name, fields = avro.decode(kept.value)
    return _WRITTEN_AGAIN[name](kept) if name in _WRITTEN_AGAIN else avro.encode(name, fields)


def _condition(kept: Kept) -> bytes:
    state = PactState()
    name = kept.key.decode().split("/w/")[1]
    state.restore(name, avro.decode_as("ConditionState", kept.value)["entry"])
    measure, _, key = name.partition("/")
    entry = state.find(measure, key, 0)
    if entry is None:
        raise AssertionError(name)
    state.put(measure, key, entry)
    ((_, encoded),) = state.drain(0)
    return avro.encode("ConditionState", {"entry": encoded})


def _totals(kept: Kept) -> bytes:
    agent = AgentState(AGENT)
    agent.restore_totals(kept.value)
    return agent.encode_totals()


def _anomaly(kept: Kept) -> bytes:
    fields = avro.decode_as("AnomalyState", kept.value)
    detector = State.decode(fields["detector"]).encode()
    # Another release of zlib may compress otherwise: what matters is inside.
    same = zlib.decompress(detector) == zlib.decompress(fields["detector"])
    return avro.encode("AnomalyState", fields | ({} if same else {"detector": detector}))


_WRITTEN_AGAIN: Final[dict[str, Callable[[Kept], bytes]]] = {
    "ConditionState": _condition,
    "Hold": lambda kept: holds.decode(kept.key, kept.value).encode(),
    "ScoreTotals": _totals,
    "ScoreEvidence": lambda kept: avro.encode(
        "ScoreEvidence", Day.from_avro(avro.decode_as("ScoreEvidence", kept.value)).to_avro()
    ),
    "BehaviourWindow": lambda kept: Window.decode(kept.value).encode(),
    "AnomalyState": _anomaly,
    "PagingState": lambda kept: memory.restored(kept.value).encode(),
    "Page": lambda kept: memory.restored_page(kept.value).encode(),
    "Told": lambda kept: decode_told(kept.value).encode(),
}


def read(path: Path) -> list[Kept]:
    """The records of a file."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    return [Kept(one["topic"], one["key"].encode(), bytes.fromhex(one["value"])) for one in lines]


if __name__ == "__main__":
    file = DIRECTORY / f"state-{avro.registered()[-1].id:04}.jsonl"
    rows = [{"topic": one.topic, "key": one.key.decode(), "value": one.value.hex()} for one in made()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
