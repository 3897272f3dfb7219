"""The member `evaluators` of a pact: who evaluates too, and what they see. It changes no verdict or score."""

from __future__ import annotations

from typing import Any

import pytest

from evaluator_worker.external.task import TYPE
from pactstream.pacts import Pact, compile_pact, parse_pact
from pactstream.pacts.model import Evaluator
from pactstream.pacts.parse import PactError
from pactstream.review.diff import differences
from tests.evaluator_tools import DOCUMENT, PACT
from tests.external_tools import ISSUER, OTHER
from tests.score_tools import Life, attests


def pact(*evaluators: dict[str, Any]) -> Pact:
    return parse_pact({**DOCUMENT, "evaluators": list(evaluators)})


def test_an_evaluator_sees_the_leaf_unless_it_is_said() -> None:
    listed = pact(
        {"issuer": ISSUER}, {"issuer": OTHER, "sees": "params", "tools": ["swap", "transfer_funds", "swap"]}
    )
    assert listed.evaluators == (
        Evaluator(ISSUER, False, None),
        Evaluator(OTHER, True, ("swap", "transfer_funds")),
    )
    assert parse_pact(DOCUMENT).evaluators == ()


@pytest.mark.parametrize(
    ("evaluators", "path"),
    [
        ([], "evaluators"),
        ([{"issuer": ISSUER}, {"issuer": ISSUER}], "evaluators[1].issuer"),
        ([{"issuer": "acme"}], "evaluators[0].issuer"),
        ([{"issuer": ISSUER + "\n"}], "evaluators[0].issuer"),
        ([{"issuer": ISSUER, "sees": "all"}], "evaluators[0].sees"),
        ([{"issuer": ISSUER, "url": "https://a.example"}], "evaluators[0].url"),
        ([{"issuer": ISSUER, "tools": []}], "evaluators[0].tools"),
        ([{}], "evaluators[0].issuer"),
        ([{"issuer": f"{at}{ISSUER[1:]}"} for at in range(5)], "evaluators"),
    ],
)
def test_what_is_no_list_of_evaluators_is_a_fault(evaluators: list[dict[str, Any]], path: str) -> None:
    with pytest.raises(PactError) as raised:
        parse_pact({**DOCUMENT, "evaluators": evaluators})
    assert path in [one.path for one in raised.value.details]


def test_it_is_part_of_the_hash_and_shows_in_a_diff_but_judges_nothing() -> None:
    old, new = pact({"issuer": ISSUER}), pact({"issuer": ISSUER, "sees": "params"})
    assert len({old.hash, new.hash, parse_pact(DOCUMENT).hash}) == 3
    (found,) = differences(old, new)
    assert (found.place, found.rule, found.direction) == ("evaluators", ISSUER, None)
    assert "the parameters" in found.text
    judged = [
        compile_pact(one, pact_id=PACT, version=1).judge("transfer_funds", b'{"amount": 5000}').violations
        for one in (old, parse_pact(DOCUMENT))
    ]
    assert judged[0] == judged[1]


def test_no_verdict_of_a_third_party_is_taken_for_an_attestation() -> None:
    attested = attests("accuracy", correct=1, total=1, benchmark="b")
    life = Life().tell({**attested, "type": TYPE})
    assert life.tally.attested == {}
    assert Life().tell(attested).tally.attested
