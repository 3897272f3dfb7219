"""The counterparty's client asks for cosignatures: what counts, what does not, and what it says then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pactstream.errors import InvalidInput
from pactstream.ledger import note
from pactstream.ledger.note import NoteError
from pactstream.trust import LedgerForked, LedgerUnproven, TrustClient
from tests.cli_tools import Run, runner
from tests.oracle_states import EMPTY
from tests.published_ledger import Published, changed, published, relinked
from tests.trust_oracle import AGENT, ENTRIES, ISSUER, TestOracle, serving, state_of
from tests.witnessed import TestWitness, cosigned

PLAIN, LATER = published(ENTRIES[:300], ()), published(ENTRIES[:400], (300,))
CHECKPOINT = "ledger/0/checkpoint"


@pytest.fixture
def oracle(tmp_path: Path) -> Iterator[TestOracle]:
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def pactstream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def witnesses(*names: str) -> list[TestWitness]:
    return [TestWitness(f"{name}.example/w") for name in names]


def get(oracle: TestOracle, asked: list[TestWitness], **options: Any) -> dict[str, Any]:
    given = {"issuer": ISSUER, "jwks": oracle.jwks, "url": oracle.url, "witnesses": [one.vkey for one in asked]}
    with TrustClient(**(given | options)) as client:
        return client.get(AGENT)


def test_a_checkpoint_that_every_witness_cosigned_is_believed(oracle: TestOracle) -> None:
    both = witnesses("one", "two")
    oracle.show(cosigned(PLAIN, *both))
    oracle.asked.clear()
    assert get(oracle, both)["agentId"] == str(AGENT)
    assert CHECKPOINT not in oracle.asked  # the report carries the cosignatures: nothing more is asked for


def test_too_few_are_refused_with_how_many_of_how_many(oracle: TestOracle) -> None:
    both = witnesses("one", "two")
    oracle.show(cosigned(PLAIN, both[0]))
    with pytest.raises(LedgerUnproven, match=r"1 of 2 known witnesses .* of 300 leaves; asked for are 2"):
        get(oracle, both)
    get(oracle, both, quorum=1)
    get(oracle, both, quorum=0)
    oracle.show(PLAIN)
    with pytest.raises(LedgerUnproven, match="0 of 2 known witnesses"):
        get(oracle, both, quorum=1)


def test_another_witness_does_not_count(oracle: TestOracle) -> None:
    ours, theirs = witnesses("one", "two")
    oracle.show(cosigned(PLAIN, theirs))
    with pytest.raises(LedgerUnproven, match="0 of 1 known witnesses"):
        get(oracle, [ours])


def test_the_cosignature_of_an_older_tree_does_not_count_for_a_newer_one(oracle: TestOracle) -> None:
    asked = witnesses("one")
    older = cosigned(PLAIN, *asked)
    # The line of the older note under the newer text: a bad signature of a known key.
    line = note.parse_note(older.note).signatures[1]
    newer = note.parse_note(LATER.note)
    pasted = note.format_note(newer.text, [*newer.signatures, line])
    oracle.show(replace(LATER, files={**LATER.files, CHECKPOINT: pasted}))
    with pytest.raises(LedgerUnproven, match="signature"):
        get(oracle, asked)
    # The newer tree without cosignatures, and nothing but the older one published.
    oracle.show(LATER)
    oracle.files[CHECKPOINT] = older.note
    with pytest.raises(
        LedgerUnproven, match=r"0 of 1 known .* of 400 leaves; .*, and published are 300 so far"
    ):
        get(oracle, asked)


def test_a_cosignature_that_came_after_the_report_counts(oracle: TestOracle) -> None:
    asked = witnesses("one")
    oracle.show(PLAIN)
    oracle.files |= cosigned(PLAIN, *asked).files
    get(oracle, asked)
    oracle.files |= cosigned(LATER, *asked).files  # a larger tree that has the report's as its beginning
    get(oracle, asked)
    del oracle.files[CHECKPOINT]
    with pytest.raises(LedgerUnproven, match="missing"):
        get(oracle, asked)


@pytest.mark.parametrize("count", [300, 400])
def test_a_report_beside_what_witnesses_cosigned_is_a_fork(oracle: TestOracle, count: int) -> None:
    asked = witnesses("one")
    real = cosigned(published(ENTRIES[:count], ()), *asked)
    forged: Published = published(relinked([changed(one, tool="wipe") for one in ENTRIES[:300]]), ())
    refused = cosigned(forged, *asked)
    assert refused.note == forged.note  # the witness knows another tree
    oracle.show(refused)
    with pytest.raises(LedgerUnproven, match="0 of 1"):
        get(oracle, asked)
    oracle.files |= real.files
    with pytest.raises(LedgerForked):
        get(oracle, asked)


def test_a_record_without_a_checkpoint_is_refused_where_witnesses_are_asked_for(oracle: TestOracle) -> None:
    asked = witnesses("one")
    oracle.sign(replace(state_of(PLAIN), head=None, checkpoint=None, inclusion=None))
    with pytest.raises(LedgerUnproven, match="names no checkpoint"):
        get(oracle, asked)
    get(oracle, [])
    oracle.sign(replace(EMPTY, agent_id=str(AGENT)))  # nothing is said of what it did
    get(oracle, asked)


def test_what_cannot_be_asked_for_is_refused_at_once(oracle: TestOracle) -> None:
    (one,) = witnesses("one")
    for asked, options in (([one], {"quorum": 2}), ([], {"quorum": 1}), ([one, one], {})):
        with pytest.raises(NoteError, match="cannot be asked for"):
            get(oracle, asked, **options)
    with pytest.raises(NoteError, match="signature type"):
        get(oracle, [], witnesses=[PLAIN.signer.verifier.vkey()])
    with pytest.raises(InvalidInput, match="not to be checked"):
        get(oracle, [one], check_ledger=False)


def test_the_commands_ask_too(oracle: TestOracle, tmp_path: Path, pactstream: Run) -> None:
    both = witnesses("one", "two")
    oracle.show(cosigned(PLAIN, both[0]))
    (tmp_path / "keys.json").write_text(json.dumps(oracle.jwks))
    oracle.files[".well-known/jwks.json"] = (tmp_path / "keys.json").read_bytes()
    (tmp_path / "policy.json").write_text("{}")
    pinned = ("--jwks", tmp_path / "keys.json", "--policy", tmp_path / "policy.json")
    for command in (("get", AGENT), ("decide", AGENT, *pinned)):
        asking = ("trust", *command, "--url", oracle.url, "--issuer", ISSUER)
        asking = (*asking, *(text for one in both for text in ("--witness", one.vkey)))
        assert pactstream(*asking, "--quorum", 1).code == 0
        ran = pactstream(*asking)
        assert (ran.code, ran.out) == (1, "")
        assert "1 of 2 known witnesses cosigned the checkpoint of 300 leaves; asked for are 2" in ran.err
        ran = pactstream(*asking, "--quorum", 3)
        assert (ran.code, ran.err[:31]) == (3, "pactstream: --witness, --quorum")
