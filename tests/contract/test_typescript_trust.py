"""The TypeScript `TrustClient` against an honest oracle, and against one that is not: as Python's is tested."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pactstream import clock
from pactstream.ledger import note
from pactstream.ledger.log_keys import LogKey
from pactstream.ledger.note import NoteVerifier
from pactstream.signing.jwks import jwks_document
from pactstream.signing.keys import create_keys
from tests.node_tools import MISSING, Conversation, project
from tests.oracle_states import EMPTY
from tests.published_ledger import Published, changed, published, relinked
from tests.trust_oracle import AGENT, ENTRIES, ISSUER, TestOracle, serving, state_of
from tests.witnessed import TestWitness, cosigned

SECOND = clock.MICROS_PER_SECOND
LOG, LONGER = published(ENTRIES[:300], ()), published(ENTRIES, (300,))
SCRIPT = """
import { createInterface } from 'node:readline'
import { TrustClient } from '@pactstream/sdk/trust'

const clients = new Map()
for await (const line of createInterface({ input: process.stdin })) {
  const { client, options, agent } = JSON.parse(line)
  if (!clients.has(client)) clients.set(client, new TrustClient(options))
  const answer = await clients.get(client).get(agent).then(
    (claims) => ({ claims }),
    (error) => ({ error: error.name, message: error.message }),
  )
  console.log(JSON.stringify(answer))
}
"""

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversation]:
    with Conversation(SCRIPT, project(tmp_path_factory.mktemp("node"))) as talking:
        yield talking


@pytest.fixture
def oracle(tmp_path: Path) -> Iterator[TestOracle]:
    with serving(tmp_path) as running:
        running.show(LOG)
        yield running


class Client:
    """One client in Node; `get` gives `ok`, or the error's name."""

    numbers = iter(range(1_000))

    def __init__(self, node: Conversation, oracle: TestOracle, **options: Any) -> None:
        self._node = node
        self._number = next(self.numbers)
        self._options = {"issuer": ISSUER, "jwks": oracle.jwks, "url": oracle.url} | options
        self.said = ""

    def get(self, agent: object = AGENT) -> str:
        answer = self._node.ask({"client": self._number, "options": self._options, "agent": str(agent)})
        self.said = answer.get("message", "")
        if "claims" in answer:
            assert answer["claims"]["agentId"] == str(agent)
            assert "signatures" not in answer["claims"]
            return "ok"
        return str(answer["error"])


def rewritten(count: int) -> Published:
    return published(relinked([changed(one, tool="wipe") for one in ENTRIES[:count]]), ())


def test_a_log_that_grew_is_compared_with_what_was_seen(node: Conversation, oracle: TestOracle) -> None:
    ours = Client(node, oracle)
    assert ours.get() == "ok"
    oracle.show(LONGER)
    oracle.asked.clear()
    assert ours.get() == "ok"
    assert any(path.startswith("ledger/0/tile/") for path in oracle.asked)
    oracle.asked.clear()
    assert ours.get() == "ok"
    assert oracle.asked == [f"api/v1/trust/{AGENT}"]  # nothing new: nothing to compare
    oracle.sign(state_of(LOG))
    assert ours.get() == "ok"  # an older checkpoint of the same log is no fork


@pytest.mark.parametrize("count", [300, 450, 600, 200])
def test_a_rewritten_log_is_a_fork_whether_it_grew_or_not(
    node: Conversation, oracle: TestOracle, count: int
) -> None:
    ours = Client(node, oracle)
    assert ours.get() == "ok"
    other = rewritten(count)
    oracle.files |= other.files | (LOG.files if count < 300 else {})
    oracle.sign(state_of(other))
    assert ours.get() == "LedgerForked", ours.said


def test_two_leaves_under_one_number_are_a_fork(node: Conversation, oracle: TestOracle) -> None:
    state = state_of(LOG)
    assert state.head is not None
    ours = Client(node, oracle)
    assert ours.get() == "ok"
    leaf = LOG.files["ledger/0/tile/0/000"][32:64].hex()
    oracle.sign(replace(state, head=replace(state.head, leaf_index=1, leaf_hash=leaf), inclusion=None))
    assert ours.get() == "LedgerForked"
    assert "leaf 100" in ours.said


def test_without_a_proof_in_the_report_the_tiles_prove_it(node: Conversation, oracle: TestOracle) -> None:
    for log in (LOG, LONGER):
        oracle.show(log, inclusion=None)
        assert Client(node, oracle).get() == "ok"
    assert any(path.startswith("ledger/0/tile/0/") for path in oracle.asked)


def test_a_leaf_that_is_not_in_the_tree_is_not_proven(node: Conversation, oracle: TestOracle) -> None:
    state = state_of(LOG)
    assert state.head is not None
    for changes in (
        {"head": replace(state.head, leaf_hash="ab" * 32)},
        {"head": replace(state.head, leaf_index=5)},
        {"head": replace(state.head, leaf_index=300)},
        {"head": replace(state.head, leaf_hash="zz")},
        {"inclusion": ()},
        {"inclusion": ("cd" * 32,) * 9},
        {"inclusion": None, "head": replace(state.head, leaf_hash="ab" * 32)},
    ):
        oracle.sign(replace(state, **changes))
        assert Client(node, oracle).get() == "LedgerUnproven", changes


def test_tiles_that_lie_or_are_missing_prove_nothing(node: Conversation, oracle: TestOracle) -> None:
    ours = Client(node, oracle)
    assert ours.get() == "ok"
    oracle.sign(state_of(LONGER))
    assert ours.get() == "LedgerUnproven"
    assert "missing" in ours.said
    for path in ("ledger/0/tile/0/001", "ledger/0/tile/1/000.p/2", "ledger/0/tile/0/002.p/88"):
        oracle.show(LONGER)
        honest = oracle.files[path]
        oracle.files[path] = bytes([honest[0] ^ 1]) + honest[1:]
        assert Client(node, oracle).get() == "ok"  # the report's own proof needs no tile
        assert ours.get() == "LedgerUnproven"
        oracle.files[path] = honest[:-1]
        assert ours.get() == "LedgerUnproven"
    oracle.show(LONGER)
    assert ours.get() == "ok"  # what could not be proven was not remembered


def test_a_checkpoint_that_the_pinned_log_key_did_not_sign_proves_nothing(
    node: Conversation, oracle: TestOracle
) -> None:
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    for name in ("dev/ledger/0", "dev/ledger/9"):
        line = LogKey(NoteVerifier(name, public)).line()
        assert Client(node, oracle, logKeys=line).get() == "LedgerUnproven"
    assert Client(node, oracle, logKeys=oracle.files["ledger/keys"].decode()).get() == "ok"
    ours = Client(node, oracle)
    assert ours.get() == "ok"
    oracle.files["ledger/keys"] = b"nothing of the kind"
    assert ours.get() == "ok"  # the first keys seen stay the keys
    assert Client(node, oracle).get() == "LedgerUnproven"
    del oracle.files["ledger/keys"]
    assert Client(node, oracle).get() == "LedgerUnproven"


def test_cosignatures_are_asked_for(node: Conversation, oracle: TestOracle) -> None:
    one, two = TestWitness("one.example/w"), TestWitness("two.example/w")
    both = [one.vkey, two.vkey]
    oracle.show(cosigned(LOG, one))
    assert Client(node, oracle, witnesses=both, quorum=1).get() == "ok"
    oracle.asked.clear()
    assert Client(node, oracle, witnesses=both[:1]).get() == "ok"
    assert "ledger/0/checkpoint" not in oracle.asked  # the report carries it
    ours = Client(node, oracle, witnesses=both)
    assert ours.get() == "LedgerUnproven"
    assert "1 of 2 known witnesses cosigned the checkpoint of 300 leaves; asked for are 2" in ours.said
    assert Client(node, oracle, witnesses=both[1:]).get() == "LedgerUnproven"
    # A cosignature that came later stands under the published checkpoint, of this tree or of a larger one.
    for log in (cosigned(LOG, one, two), cosigned(LONGER, one, two)):
        oracle.files |= log.files
        assert ours.get() == "ok"
    # What is published does not reach to the report's tree.
    oracle.show(LONGER)
    oracle.files["ledger/0/checkpoint"] = cosigned(LOG, one, two).note
    assert ours.get() == "LedgerUnproven"
    del oracle.files["ledger/0/checkpoint"]
    assert ours.get() == "LedgerUnproven"


def test_an_older_cosignature_and_a_fork_of_what_was_cosigned(node: Conversation, oracle: TestOracle) -> None:
    one = TestWitness("one.example/w")
    older = cosigned(LOG, one)
    line = note.parse_note(older.note).signatures[1]
    newer = note.parse_note(LONGER.note)
    pasted = note.format_note(newer.text, [*newer.signatures, line])
    oracle.show(replace(LONGER, files={**LONGER.files, "ledger/0/checkpoint": pasted}))
    ours = Client(node, oracle, witnesses=[one.vkey])
    assert ours.get() == "LedgerUnproven"
    assert "bad" in ours.said
    forged = cosigned(rewritten(300), one)  # the witness does not cosign it
    oracle.show(forged)
    oracle.files |= older.files
    assert Client(node, oracle, witnesses=[one.vkey]).get() == "LedgerForked"


def test_a_record_without_a_checkpoint_and_a_quorum_that_cannot_be(
    node: Conversation, oracle: TestOracle
) -> None:
    one = TestWitness("one.example/w")
    oracle.sign(replace(state_of(LOG), head=None, checkpoint=None, inclusion=None))
    assert Client(node, oracle).get() == "ok"
    assert Client(node, oracle, witnesses=[one.vkey]).get() == "LedgerUnproven"
    oracle.sign(replace(EMPTY, agent_id=str(AGENT)))
    assert Client(node, oracle, witnesses=[one.vkey]).get() == "ok"
    assert Client(node, oracle, witnesses=[one.vkey], quorum=2).get() == "ProofError"
    assert Client(node, oracle, witnesses=[LOG.signer.verifier.vkey()]).get() == "ProofError"


def test_nothing_to_prove_half_a_claim_and_no_ledger(node: Conversation, oracle: TestOracle) -> None:
    oracle.sign(replace(EMPTY, agent_id=str(AGENT)))
    assert Client(node, oracle).get() == "ok"
    oracle.sign(replace(state_of(LOG), checkpoint=None))
    assert Client(node, oracle).get() == "ReportMalformed"
    oracle.show(LOG)
    oracle.asked.clear()
    assert Client(node, oracle, checkLedger=False).get() == "ok"
    assert oracle.asked == [f"api/v1/trust/{AGENT}"]


def test_each_reason_not_to_believe_a_report_has_its_name(
    node: Conversation, oracle: TestOracle, tmp_path: Path
) -> None:
    strangers = [key.public for key in create_keys(tmp_path / "strangers", "report")]
    assert Client(node, oracle, issuer="other.example").get() == "ReportIssuerError"
    assert Client(node, oracle, jwks=jwks_document(strangers)).get() == "ReportSignatureError"
    path = f"api/v1/trust/{AGENT}"
    honest = oracle.files[path]
    for body, error in (
        (honest.replace(b'"composite":96', b'"composite":99'), "ReportSignatureError"),
        (b"[]", "ReportMalformed"),
        (b"{", "ReportMalformed"),
        (b'{"a":' * 40_000, "ReportMalformed"),
        (b"[" * 100_000 + b"]" * 100_000, "ReportMalformed"),
        (b"\xff" * 10, "ReportMalformed"),
        (b" " * 262_145, "OracleUnavailable"),
    ):
        oracle.files[path] = body
        assert Client(node, oracle).get() == error
    oracle.sign(replace(state_of(LOG), agent_id="76cf31d6-ffe3-4a5c-8748-021114aa8066"))
    assert Client(node, oracle).get() == "ReportMalformed"


def test_an_old_report_is_expired_or_stale(node: Conversation, oracle: TestOracle) -> None:
    state = state_of(LOG)
    oracle.sign(state, now_micros=clock.now_micros() - 301 * SECOND)
    assert Client(node, oracle).get() == "ReportExpired"
    oracle.sign(state, now_micros=clock.now_micros() - 200 * SECOND)
    assert Client(node, oracle, maxAgeSeconds=100).get() == "ReportStale"
    assert Client(node, oracle).get() == "ok"
    assert state.score is not None
    assert state.head is not None
    received = state.head.received_at_micros - 90 * SECOND
    oracle.sign(
        replace(state, score=replace(state.score, through_sequence=3, last_received_at_micros=received))
    )
    assert Client(node, oracle).get() == "ReportStale"
    assert Client(node, oracle, maxLagSeconds=100).get() == "ok"


def test_no_answer_is_neither_for_nor_against(node: Conversation, oracle: TestOracle) -> None:
    for status in (302, 429, 500, 503):
        oracle.status = status
        oracle.asked.clear()
        assert Client(node, oracle).get() == "OracleUnavailable"
        assert len(oracle.asked) == 1  # no redirect is followed
    assert Client(node, oracle, url="http://127.0.0.1:1").get() == "OracleUnavailable"
    oracle.status = 200
    oracle.files.clear()
    assert Client(node, oracle).get() == "UnknownAgent"
    assert Client(node, oracle).get("atlas/../admin") == "TypeError"
