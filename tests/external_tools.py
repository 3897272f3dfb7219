"""Third parties of the tests' own: an issuer with a key, evaluators that answer as told, judged calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from evaluator_worker.external.desk import Desk
from evaluator_worker.external.reach import Reached
from evaluator_worker.external.task import ExternalTask
from pactstream import avro, clock
from pactstream.control.issuers import Issuer
from pactstream.evaluation import Opinion, Question, sign
from pactstream.kafka import topics
from pactstream.kafka.records import Record
from pactstream.signing.jwks import jwks_document
from pactstream.signing.keys import SigningKey, create_keys
from tests.evaluator_tools import AGENT, DOCUMENT, Pacts, Written, call, task
from tests.http_servers import serving

ISSUER = "0196c9a4-5555-7000-8000-000000000001"
OTHER = "0196c9a4-5555-7000-8000-000000000002"


def evaluator_key(directory: Path) -> SigningKey:
    """A third party's key."""
    (key,) = create_keys(directory, "evaluator")
    return key


def issuer(key: SigningKey, issuer_id: str = ISSUER, **changes: Any) -> Issuer:
    """The registered issuer with that key."""
    fields: dict[str, Any] = {"kinds": ("evaluation",), "affiliates": (), "created_at_micros": 0}
    jwks = json.dumps(jwks_document([key.public]))
    return Issuer(**fields | {"issuer_id": issuer_id, "name": "Third", "jwks": jwks} | changes)


@dataclass
class Answering:
    """An evaluator that says at once what `say` makes of a question; None: it never answers."""

    say: Callable[[Question], str] | None
    asked: list[Question] = field(default_factory=list)

    def ask(self, question: Question) -> Future[str]:
        self.asked.append(question)
        future: Future[str] = Future()
        if self.say is not None:
            future.set_result(self.say(question))
        return future


def saying(key: SigningKey, **opinion: Any) -> Answering:
    """One that signs the same opinion of every call."""
    return Answering(lambda question: sign(question, Opinion(**{"verdict": "valid", **opinion}), key))


def desk(evaluators: dict[str, Reached], *issuers: Issuer, **changes: Any) -> Desk:
    """A desk with a short deadline."""
    options: dict[str, Any] = {"seconds": 0.05, "failures": 3, "rest_seconds": 30} | changes
    return Desk({one.issuer_id: one for one in issuers}, evaluators, **options)


def pacts(*evaluators: dict[str, Any]) -> Pacts:
    """The treasury pact of tenant `t`, with these evaluators."""
    return Pacts({**DOCUMENT, "evaluators": list(evaluators)})


def external_task(book: Pacts, at: Desk, **changes: Any) -> ExternalTask:
    """The task of partition 3."""
    return ExternalTask(3, book, at, **{"max_age_micros": 3_600_000_000, **changes})


def judged(*events: dict[str, Any], tenant_id: str = "t", received_at_micros: int | None = None) -> Record:
    """A batch of these events as our evaluator judged it, in `telemetry.evaluated`."""
    batch = {
        "tenant_id": tenant_id,
        "tenant_pseudonym": "tenant-1",
        "agent_id": AGENT,
        "key_id": "k",
        "request_id": "r",
        "received_at_micros": received_at_micros or clock.now_micros(),
        "events": list(events) or [call()],
    }
    written = Written()
    source = Record(topics.BATCHES, 3, 0, AGENT.encode(), avro.encode("TelemetryBatch", batch))
    task().process(source, written)
    ((key, value),) = written.of(topics.EVALUATED)
    return Record(topics.EVALUATED, 3, 0, key, value)


def recorded(worker: ExternalTask, record: Record) -> list[dict[str, Any]]:
    """The events that come of a record, as the agent's."""
    written = Written()
    worker.process(record, written)
    worker.flush(written)
    batches = [avro.decode_as("TelemetryBatch", value) for _, value in written.of(topics.BATCHES)]
    assert {one[3] for one in written.records} <= {3}
    return [event for batch in batches for event in batch["events"]]


@contextmanager
def http_evaluator(answer: Callable[[bytes, dict[str, str]], tuple[int, bytes]]) -> Iterator[str]:
    """A server that answers each request as told; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, content = answer(body, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield f"{address}/"
