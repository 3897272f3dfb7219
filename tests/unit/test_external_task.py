"""Which calls third parties are asked about, what they are shown, and what is recorded of their answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pactstream import clock
from pactstream.errors import InvalidInput, Retryable
from pactstream.evaluation import Opinion, Question, sign
from pactstream.evaluation.verdict import verify
from pactstream.kafka import topics
from pactstream.kafka.records import Record
from pactstream.ledger import merkle
from pactstream.ledger.leaf import parse_leaf
from pactstream.signing import compact
from pactstream.signing.keys import SigningKey
from tests.evaluator_tools import AGENT, PACT, Pacts, Written, call
from tests.external_tools import (
    ISSUER,
    OTHER,
    Answering,
    desk,
    evaluator_key,
    external_task,
    issuer,
    judged,
    pacts,
    recorded,
    saying,
)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return evaluator_key(tmp_path / "third")


def test_a_verdict_is_recorded_beside_ours_as_it_was_signed(key: SigningKey) -> None:
    evaluator = saying(key, verdict="violated", severity="minor", codes=("odd",))
    worker = external_task(pacts({"issuer": ISSUER}), desk({ISSUER: evaluator}, issuer(key)))
    asked_about = call(amount=5_000)
    (event,) = recorded(worker, judged(asked_about))
    (question,) = evaluator.asked
    assert (event["type"], event["outcome"], event["parent_event_id"]) == (
        "evaluation",
        "violated",
        asked_about["event_id"],
    )
    assert event["event_id"] == question.evaluation_id
    assert (event["session_id"], event["tool"], event["pact_id"]) == ("s-1", "transfer_funds", PACT)
    said = verify(event["attestation"], question, issuer(key).keys(), now_micros=clock.now_micros())
    assert (said.verdict, said.severity, said.codes) == ("violated", "minor", ("odd",))
    assert json.loads(event["metadata"]) == {"evaluator": ISSUER}
    # It was asked about this leaf, our verdict in it, and nothing more.
    leaf = parse_leaf(bytes(question.leaf))
    assert (leaf.event_id, leaf.verdict is not None and leaf.verdict.valid) == (event["parent_event_id"], False)
    assert question.leaf_hash == merkle.leaf_hash(bytes(question.leaf)).hex()
    assert b"5000" not in question.encode()
    assert Question.parse(question.encode()) == question


def test_parameters_are_shown_where_the_pact_says_so(key: SigningKey) -> None:
    evaluators = {ISSUER: saying(key), OTHER: saying(key)}
    book = pacts({"issuer": ISSUER, "sees": "params"}, {"issuer": OTHER, "sees": "leaf"})
    worker = external_task(book, desk(dict(evaluators), issuer(key), issuer(key, OTHER)))
    recorded(worker, judged(call(params=b'{"amount": 12.50, "memo": "rent", "note": {"a": [1]}}')))
    (shown,), (hidden,) = evaluators[ISSUER].asked, evaluators[OTHER].asked
    assert shown.arguments == {"amount": 12.5, "memo": "rent", "note": {"a": [1]}}
    assert shown.params is not None
    assert b"12.50" in bytes(shown.params) or b"12.5" in bytes(shown.params)
    assert hidden.params is None
    assert b"rent" not in hidden.encode()


def test_no_other_tenants_pact_shows_parameters_or_asks_at_all(key: SigningKey) -> None:
    evaluator = saying(key)
    worker = external_task(pacts({"issuer": ISSUER, "sees": "params"}), desk({ISSUER: evaluator}, issuer(key)))
    assert recorded(worker, judged(call(), tenant_id="another")) == []
    assert evaluator.asked == []


def test_who_is_asked_about_what(key: SigningKey) -> None:
    evaluator = saying(key)
    book = pacts({"issuer": ISSUER, "tools": ["transfer_funds"]})
    worker = external_task(book, desk({ISSUER: evaluator}, issuer(key)))
    unbound = call(pact_id=None, pact_version=None)
    batch = judged(call(), call(tool="swap"), unbound, call(type="response", tool=None, params=None), call())
    assert len(recorded(worker, batch)) == 2
    old = judged(call(), received_at_micros=clock.now_micros() - 3_700_000_000)
    assert recorded(worker, old) == []


def test_a_pact_that_is_not_here_yet_is_waited_for(key: SigningKey) -> None:
    evaluator = saying(key)
    worker = external_task(Pacts(), desk({ISSUER: evaluator}, issuer(key)))
    record = judged(call(pact_version=1))
    record_of_a_later_one = replace(record, value=(record.value or b"").replace(b'"version":1', b'"version":2'))
    with pytest.raises(Retryable, match="version 2"):
        worker.process(record_of_a_later_one, Written())
    assert recorded(worker, record) == []


def test_the_same_record_again_is_the_same_event(key: SigningKey) -> None:
    record = judged(call(), call())
    worker = external_task(pacts({"issuer": ISSUER}), desk({ISSUER: saying(key)}, issuer(key)))
    again = external_task(
        pacts({"issuer": ISSUER}), desk({ISSUER: saying(key, verdict="abstained")}, issuer(key))
    )
    first, second = recorded(worker, record), recorded(again, record)
    assert [one["event_id"] for one in first] == [one["event_id"] for one in second]
    assert len({one["event_id"] for one in first}) == 2


Spoil = Callable[[Question, SigningKey, SigningKey], str]
VALID = Opinion(verdict="valid")
SPOILT: dict[str, Spoil] = {
    "another key": lambda question, _, other: sign(question, VALID, other),
    "another call": lambda question, key, _: sign(
        Question.parse(question.encode().replace(question.leaf_hash.encode(), b"0" * 64)), VALID, key
    ),
    "another question": lambda question, key, _: sign(
        Question.parse(question.encode().replace(question.evaluation_id.encode(), OTHER.encode())), VALID, key
    ),
    "the future": lambda question, key, _: sign(
        question, VALID, key, now_micros=clock.now_micros() + 400 * clock.MICROS_PER_SECOND
    ),
    "another type": lambda question, key, _: compact.sign(b"{}", key, "pactstream-attestation+jws"),
    "no verdict": lambda question, key, _: compact.sign(b"{}", key, "pactstream-evaluation+jws"),
    "no JWS": lambda *_: "yes",
    "too long": lambda *_: "a.b." + "c" * 2_048,
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_what_does_not_verify_is_no_verdict(key: SigningKey, tmp_path: Path, spoil: Spoil) -> None:
    other = evaluator_key(tmp_path / "other")
    evaluator = Answering(lambda question: spoil(question, key, other))
    worker = external_task(pacts({"issuer": ISSUER}), desk({ISSUER: evaluator}, issuer(key)))
    (event,) = recorded(worker, judged())
    assert (event["outcome"], event["attestation"]) == ("no_verdict", None)
    assert json.loads(event["metadata"]) == {"evaluator": ISSUER, "reason": "refused"}


def test_a_retired_key_signs_nothing_any_more(key: SigningKey) -> None:
    document = {"keys": [key.public.members() | {"retiredAt": "2026-01-01T00:00:00.000000Z"}]}
    worker = external_task(
        pacts({"issuer": ISSUER}), desk({ISSUER: saying(key)}, issuer(key, jwks=json.dumps(document)))
    )
    (event,) = recorded(worker, judged())
    assert json.loads(event["metadata"])["reason"] == "refused"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kinds": ("accuracy",)}, "unknown"),
        ({"revoked_at_micros": 1}, "revoked"),
        ({"issuer_id": OTHER}, "unknown"),
    ],
)
def test_who_is_not_registered_for_it_is_not_asked(
    key: SigningKey, changes: dict[str, Any], reason: str
) -> None:
    evaluator = saying(key)
    registered = issuer(key, **{"issuer_id": ISSUER} | changes)
    worker = external_task(pacts({"issuer": ISSUER, "sees": "params"}), desk({ISSUER: evaluator}, registered))
    (event,) = recorded(worker, judged())
    assert json.loads(event["metadata"])["reason"] == reason
    assert evaluator.asked == []


def test_silence_costs_one_deadline_and_then_nothing(key: SigningKey) -> None:
    silent, quick = Answering(None), saying(key)
    at = [100.0]
    evaluators = desk(
        {ISSUER: silent, OTHER: quick}, issuer(key), issuer(key, OTHER), now_seconds=lambda: at[0]
    )
    worker = external_task(pacts({"issuer": ISSUER}, {"issuer": OTHER}), evaluators)
    first = recorded(worker, judged(*(call() for _ in range(10))))
    assert sorted(one["outcome"] for one in first) == ["no_verdict"] * 10 + ["valid"] * 10
    assert len(silent.asked) == 10
    # It has failed more than three times in a row: it is not asked for a while, and the other still is.
    rested = recorded(worker, judged())
    reasons = [json.loads(one["metadata"]).get("reason") for one in rested]
    assert reasons == ["resting", None]
    assert len(silent.asked) == 10
    at[0] += 31
    silent.say = quick.say
    assert [one["outcome"] for one in recorded(worker, judged())] == ["valid", "valid"]


def test_what_is_no_batch_is_refused_before_anybody_is_asked(key: SigningKey) -> None:
    evaluator = saying(key)
    worker = external_task(pacts({"issuer": ISSUER}), desk({ISSUER: evaluator}, issuer(key)))
    with pytest.raises(InvalidInput):
        worker.process(Record(topics.EVALUATED, 3, 0, AGENT.encode(), b"x"), Written())
    assert evaluator.asked == []
