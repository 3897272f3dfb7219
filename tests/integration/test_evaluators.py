"""Third-party evaluators on a real broker, as `docs/extending.md` has them: a service, and a function here."""

from __future__ import annotations

import json
import re
import runpy
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evaluator_worker import wiring as evaluator_wiring
from evaluator_worker.external import wiring
from evaluator_worker.external.settings import ExternalSettings
from evaluator_worker.settings import EvaluatorSettings
from pactstream import avro, clock
from pactstream.cli.evaluator import app
from pactstream.control.issuers import Issuer
from pactstream.control.pacts import PactBook, PactVersion
from pactstream.devstack import ports
from pactstream.kafka import topics
from pactstream.ledger.leaf import Leaf, parse_leaf
from pactstream.scores.attestation import MAX_CHARS
from pactstream.signing import compact
from pactstream.webhooks import signature
from tests.evaluator_tools import AGENT, DOCUMENT, PACT, call
from tests.external_tools import ISSUER, OTHER
from tests.http_servers import serving
from tests.kafka_tools import create_topics, produce, read_all
from tests.sealer_stack import running
from tests.stack import eventually
from tests.unit.test_external_reach import install

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
SILENT = "0196c9a4-5555-7000-8000-000000000003"
SERVICE, FUNCTION = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
(PROJECT,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.S)


def command(*words: str) -> str:
    return CliRunner().invoke(app, list(words), catch_exceptions=False).stdout.strip()


@contextmanager
def service(directory: Path) -> Iterator[str]:
    """The page's service; its address."""
    (directory / "evaluator_service.py").write_text(SERVICE)
    made = runpy.run_path(str(directory / "evaluator_service.py"))
    made["Evaluator"].log_message = lambda *_: None
    with serving(made["server"](0)) as address:
        yield f"{address}/"


def leaves(settings: ExternalSettings) -> list[Leaf]:
    batches = [avro.decode_as("EvaluatedBatch", one.value()) for one in read_all(settings, topics.EVALUATED)]
    return [parse_leaf(event["leaf"]) for batch in batches for event in batch["events"]]


def send(settings: ExternalSettings, *events: dict[str, Any]) -> None:
    batch = {
        "tenant_id": "t",
        "tenant_pseudonym": "tenant-1",
        "agent_id": AGENT,
        "key_id": "k",
        "request_id": "r",
        "received_at_micros": clock.now_micros(),
        "events": list(events),
    }
    produce(settings, topics.BATCHES, [(AGENT.encode(), avro.encode("TelemetryBatch", batch))], partition=1)


def register(settings: ExternalSettings, key_sets: dict[str, str]) -> None:
    """The issuers, and a pact that names them, as a gateway writes both."""
    for issuer_id, jwks in key_sets.items():
        third = Issuer(issuer_id, "Third", ("evaluation",), (), jwks, 0)
        produce(settings, topics.ISSUERS, [(issuer_id.encode(), third.encode())])
    evaluators = [{"issuer": ISSUER}, {"issuer": OTHER, "sees": "params"}, {"issuer": SILENT}]
    document = json.dumps({**DOCUMENT, "evaluators": evaluators}).encode()
    version = PactVersion(PACT, 1, "t", AGENT, "Treasury", document, "", 0, "test")
    produce(settings, topics.PACTS, [(version.key.encode(), version.encode())])


def test_calls_are_evaluated_by_third_parties_beside_us(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (name, where) = re.findall(r'^(\w+) = "(\w+:\w+)"$', PROJECT, re.M)[0]
    install(tmp_path, where.partition(":")[0], f"{name} = {where}\n", FUNCTION)
    (tmp_path / "keys").mkdir(0o700)
    signature.create_key(tmp_path / "keys")
    (tmp_path / "secret").write_text(command("secret", ISSUER, "--dir", "keys"))
    key_sets = {ISSUER: command("key", "evaluator-keys"), OTHER: command("key", f"keys/evaluators/{name}")}
    key_sets[SILENT] = key_sets[ISSUER]
    settings = ExternalSettings(
        kafka_bootstrap=kafka_bootstrap,
        kafka_topic_prefix=topic_prefix,
        instance="one",
        key_dir=tmp_path / "keys",
        external_evaluators=tmp_path / "evaluators.json",
        external_allow_private=True,
        external_seconds=1,
    )
    create_topics(settings)
    register(settings, key_sets)
    with ExitStack() as held:
        url = held.enter_context(service(tmp_path))
        nobody = f"http://127.0.0.1:{ports.free_port()}/"
        places = {ISSUER: {"url": url}, OTHER: {"plugin": name}, SILENT: {"url": nobody}}
        settings.external_evaluators.write_text(json.dumps(places))
        run_evaluator(settings, held)
        first = held.enter_context(wiring.build(settings))
        held.enter_context(running(first.run))
        calls = [call(amount=amount, event_id=str(uuid.uuid4())) for amount in (250, 300, 5_000)]
        send(settings, *calls)
        found = eventually(lambda: seen if len(seen := leaves(settings)) == 12 else None, 30)
    check(found or [], [one["event_id"] for one in calls])

    # Asked again from the beginning, as after a loss of its offsets: no second event comes of it.
    monkeypatch.setattr(wiring, "GROUP", "external-evaluators-again")
    with ExitStack() as held:
        url = held.enter_context(service(tmp_path))
        settings.external_evaluators.write_text(json.dumps(places | {ISSUER: {"url": url}}))
        run_evaluator(settings, held)
        held.enter_context(running(held.enter_context(wiring.build(settings)).run))
        eventually(lambda: len(read_all(settings, topics.BATCHES)) >= 1 + 2 * 3, 30)
        send(settings, call(tool="last", pact_id=None, pact_version=None))
        again = eventually(lambda: seen if (seen := leaves(settings))[-1].tool == "last" else None, 30)
    assert [one.event_id for one in (again or [])[:-1]] == [one.event_id for one in found or []]


def run_evaluator(settings: ExternalSettings, held: ExitStack) -> None:
    ours = EvaluatorSettings(
        kafka_bootstrap=settings.kafka_bootstrap,
        kafka_topic_prefix=settings.kafka_topic_prefix,
        instance="one",
        evaluator_preflight_port=ports.free_port(),
    )
    pacts = held.enter_context(closing(PactBook(ours)))
    pacts.table.catch_up()
    held.enter_context(running(*evaluator_wiring.build(ours, pacts).loops))


def check(found: list[Leaf], calls: list[str]) -> None:
    judged = [one for one in found if one.type == "tool_call"]
    assert [one.event_id for one in judged] == calls
    assert [one.verdict and one.verdict.valid for one in judged] == [True, True, False]
    evaluations = [one for one in found if one.type == "evaluation"]
    assert {one.parent_event_id for one in evaluations} == set(calls)
    said: dict[str, list[str | None]] = {}
    for one in evaluations:
        signed = b"{}"
        if one.attestation is not None:
            signed = compact.payload_of(one.attestation, max_chars=MAX_CHARS)
        said.setdefault(json.loads(signed).get("iss", SILENT), []).append(one.outcome)
    # The service sees outcomes only, and these are successes; the function sees amounts.
    assert said == {
        ISSUER: ["valid"] * 3,
        OTHER: ["valid", "violated", "violated"],
        SILENT: ["no_verdict"] * 3,
    }
    assert [one.sequence for one in found] == list(range(1, 13))
