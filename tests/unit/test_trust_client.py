"""The counterparty's client against an oracle that is honest, and against one that is not in every way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pactstream import clock
from pactstream.errors import Fatal
from pactstream.ledger.log_keys import LogKey
from pactstream.ledger.note import NoteVerifier
from pactstream.ledger.pins import Pin, PinBook
from pactstream.signing.keys import create_keys
from pactstream.trust import (
    LedgerForked,
    LedgerUnproven,
    OracleUnavailable,
    ReportExpired,
    ReportIssuerError,
    ReportMalformed,
    ReportSignatureError,
    ReportStale,
    TrustClient,
    UnknownAgent,
)
from pactstream.trust import ledger as ledger_module
from pactstream.trust import memory as memory_module
from pactstream.trust.oracle import MAX_REPORT_BYTES
from tests.oracle_states import EMPTY
from tests.published_ledger import Published, changed, published, relinked
from tests.trust_oracle import AGENT, ENTRIES, ISSUER, TestOracle, serving, state_of

SECOND = clock.MICROS_PER_SECOND


@pytest.fixture
def oracle(tmp_path: Path) -> Iterator[TestOracle]:
    with serving(tmp_path) as running:
        running.show(published(ENTRIES[:300], ()))
        yield running


def client(oracle: TestOracle, **options: Any) -> TrustClient:
    return TrustClient(**{"issuer": ISSUER, "jwks": oracle.jwks, "url": oracle.url, **options})


def longer() -> Published:
    """The same log, later."""
    return published(ENTRIES, (300,))


def rewritten() -> Published:
    """Another history under the same keys: one leaf differs."""
    entries = [*ENTRIES]
    entries[7] = changed(entries[7], tool="wipe")
    return published(relinked(entries), (300,))


def test_an_honest_report_is_returned_in_full(oracle: TestOracle) -> None:
    with client(oracle) as ours:
        claims = ours.get(AGENT)
    assert claims["agentId"] == str(AGENT)
    assert claims["score"]["composite"] == 96
    assert "signatures" not in claims


def test_a_log_that_grew_is_compared_with_what_was_seen(oracle: TestOracle) -> None:
    with client(oracle) as ours:
        ours.get(AGENT)
        oracle.show(longer())
        oracle.asked.clear()
        ours.get(AGENT)
        assert any(path.startswith("ledger/0/tile/") for path in oracle.asked)
        oracle.asked.clear()
        ours.get(AGENT)
        assert oracle.asked == [f"api/v1/trust/{AGENT}"]  # nothing new: nothing to compare


def test_an_older_checkpoint_of_the_same_log_is_no_fork(oracle: TestOracle) -> None:
    oracle.show(longer())
    with client(oracle) as ours:
        ours.get(AGENT)
        oracle.files |= published(ENTRIES[:300], ()).files | longer().files
        oracle.sign(state_of(published(ENTRIES[:300], ())))
        ours.get(AGENT)


@pytest.mark.parametrize("count", [300, 450, 600, 200])
def test_a_rewritten_log_is_a_fork_whether_it_grew_or_not(oracle: TestOracle, count: int) -> None:
    with client(oracle) as ours:
        ours.get(AGENT)
        other = published(relinked([changed(one, tool="wipe") for one in ENTRIES[:count]]), ())
        # An operator who answers each question from the tree that suits it: the seen one stays available.
        oracle.files |= other.files | (published(ENTRIES[:300], ()).files if count < 300 else {})
        oracle.sign(state_of(other))
        with pytest.raises(LedgerForked):
            ours.get(AGENT)


def test_what_was_seen_outlives_the_process(oracle: TestOracle, tmp_path: Path) -> None:
    with client(oracle, state_dir=tmp_path / "state") as ours:
        ours.get(AGENT)
        with pytest.raises(Fatal, match="another process"):
            client(oracle, state_dir=tmp_path / "state")
    oracle.show(rewritten())
    with client(oracle, state_dir=tmp_path / "state") as ours, pytest.raises(LedgerForked):
        ours.get(AGENT)
    with client(oracle) as forgetful:
        forgetful.get(AGENT)


def test_two_leaves_under_one_number_are_a_fork(oracle: TestOracle) -> None:
    honest = published(ENTRIES[:300], ())
    state = state_of(honest)
    assert state.head is not None
    with client(oracle) as ours:
        ours.get(AGENT)
        # Another leaf of the same tree, passed off as the agent's hundredth.
        index = 1
        leaf = honest_leaf(honest, index)
        head = replace(state.head, leaf_index=index, leaf_hash=leaf)
        oracle.sign(replace(state, head=head, inclusion=None))
        with pytest.raises(LedgerForked, match="leaf 100"):
            ours.get(AGENT)


def honest_leaf(log: Published, index: int) -> str:
    data = log.files[f"ledger/0/tile/0/{index // 256:03}"]
    return data[index % 256 * 32 :][:32].hex()


def test_without_a_proof_in_the_report_the_tiles_prove_it(oracle: TestOracle) -> None:
    oracle.show(published(ENTRIES[:300], ()), inclusion=None)
    with client(oracle) as ours:
        ours.get(AGENT)
        assert any(path.startswith("ledger/0/tile/0/") for path in oracle.asked)


def test_a_leaf_that_is_not_in_the_tree_is_not_proven(oracle: TestOracle) -> None:
    state = state_of(published(ENTRIES[:300], ()))
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
        with client(oracle) as ours, pytest.raises(LedgerUnproven):
            ours.get(AGENT)


def test_a_checkpoint_that_the_pinned_log_key_did_not_sign_proves_nothing(oracle: TestOracle) -> None:
    stranger = NoteVerifier(
        "dev/ledger/0", bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    )
    with client(oracle, log_keys=LogKey(stranger).line()) as ours, pytest.raises(LedgerUnproven):
        ours.get(AGENT)
    elsewhere = NoteVerifier("dev/ledger/9", stranger.public_key)
    with (
        client(oracle, log_keys=LogKey(elsewhere).line()) as ours,
        pytest.raises(LedgerUnproven, match="no key"),
    ):
        ours.get(AGENT)
    del oracle.files["ledger/keys"]
    with client(oracle) as ours, pytest.raises(LedgerUnproven, match="publishes no log keys"):
        ours.get(AGENT)


def test_the_first_keys_seen_stay_the_keys(oracle: TestOracle) -> None:
    with client(oracle) as ours:
        ours.get(AGENT)
        oracle.files["ledger/keys"] = b"nothing of the kind"
        ours.get(AGENT)


def test_an_agent_without_a_leaf_has_nothing_to_prove_and_half_a_claim_is_malformed(oracle: TestOracle) -> None:
    oracle.sign(replace(EMPTY, agent_id=str(AGENT)))
    with client(oracle) as ours:
        assert ours.get(AGENT)["ledger"]["head"] is None
    oracle.sign(replace(state_of(published(ENTRIES[:300], ())), checkpoint=None))
    with client(oracle) as ours, pytest.raises(ReportMalformed, match="or neither"):
        ours.get(AGENT)


def test_each_reason_not_to_believe_a_report_has_its_type(oracle: TestOracle, tmp_path: Path) -> None:
    with client(oracle, issuer="other.example") as ours, pytest.raises(ReportIssuerError):
        ours.get(AGENT)
    strangers = create_keys(tmp_path / "strangers", "report")
    with client(TestOracle(strangers, url=oracle.url)) as ours, pytest.raises(ReportSignatureError):
        ours.get(AGENT)
    path = f"api/v1/trust/{AGENT}"
    honest = oracle.files[path]
    for body, error in (
        (honest.replace(b'"composite":96', b'"composite":99'), ReportSignatureError),
        (b"[]", ReportMalformed),
        (b"{", ReportMalformed),
        (b'{"signatures":[]}', ReportMalformed),
        (b"\xff" * 10, ReportMalformed),
        (b" " * (MAX_REPORT_BYTES + 1), OracleUnavailable),
    ):
        oracle.files[path] = body
        with client(oracle) as ours, pytest.raises(error):
            ours.get(AGENT)


def test_a_report_of_another_agent_is_refused(oracle: TestOracle) -> None:
    oracle.sign(
        replace(state_of(published(ENTRIES[:300], ())), agent_id="76cf31d6-ffe3-4a5c-8748-021114aa8066")
    )
    with client(oracle) as ours, pytest.raises(ReportMalformed, match="is of the agent 76cf31d6"):
        ours.get(AGENT)


def test_an_old_report_is_expired_or_stale(oracle: TestOracle) -> None:
    state = state_of(published(ENTRIES[:300], ()))
    oracle.sign(state, now_micros=clock.now_micros() - 301 * SECOND)
    with client(oracle) as ours, pytest.raises(ReportExpired):
        ours.get(AGENT)
    oracle.sign(state, now_micros=clock.now_micros() - 200 * SECOND)
    with client(oracle, max_age_seconds=100) as ours, pytest.raises(ReportStale, match="200 s old"):
        ours.get(AGENT)
    with client(oracle) as ours:
        ours.get(AGENT)


def test_a_score_behind_the_ledger_is_stale(oracle: TestOracle) -> None:
    state = state_of(published(ENTRIES[:300], ()))
    assert state.score is not None
    assert state.head is not None
    behind = replace(
        state.score, through_sequence=3, last_received_at_micros=state.head.received_at_micros - 90 * SECOND
    )
    oracle.sign(replace(state, score=behind))
    with client(oracle) as ours, pytest.raises(ReportStale, match="90 s behind"):
        ours.get(AGENT)
    with client(oracle, max_lag_seconds=100) as ours:
        ours.get(AGENT)


@pytest.mark.parametrize("status", [302, 429, 500, 503])
def test_no_answer_is_neither_for_nor_against(oracle: TestOracle, status: int) -> None:
    oracle.status = status
    with client(oracle) as ours, pytest.raises(OracleUnavailable):
        ours.get(AGENT)
    assert len(oracle.asked) == 1  # no redirect is followed


def test_nobody_there_and_nobody_known() -> None:
    with TrustClient(issuer=ISSUER, jwks={"keys": []}, url="http://127.0.0.1:1") as ours:
        with pytest.raises(OracleUnavailable):
            ours.get(AGENT)
        with pytest.raises(ValueError, match="badly formed"):
            ours.get("atlas/../admin")


def test_an_unknown_agent_has_its_own_error(oracle: TestOracle) -> None:
    oracle.files.clear()
    with client(oracle) as ours, pytest.raises(UnknownAgent):
        ours.get(AGENT)


def test_tiles_that_cannot_be_had_leave_it_open(oracle: TestOracle) -> None:
    with client(oracle) as ours:
        ours.get(AGENT)
        oracle.sign(state_of(longer()))
        with pytest.raises(LedgerUnproven, match="missing"):
            ours.get(AGENT)
        oracle.show(longer())
        ours.get(AGENT)  # what could not be proven was not remembered


def test_without_the_ledger_nothing_but_the_report_is_asked_for(oracle: TestOracle) -> None:
    with client(oracle, check_ledger=False) as ours:
        ours.get(AGENT)
    assert oracle.asked == [f"api/v1/trust/{AGENT}"]


def test_no_more_heads_are_remembered_than_the_limit(
    oracle: TestOracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(ledger_module, "MAX_HEADS", 0)
    with client(oracle, state_dir=tmp_path / "state") as ours:
        ours.get(AGENT)
    (pin,) = (tmp_path / "state").glob("*.pin.json")
    assert json.loads(pin.read_bytes())["heads"] == {}


def test_a_busy_client_does_not_wait_for_the_disk_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    written: list[str] = []
    monkeypatch.setattr(PinBook, "put", lambda _, pin: written.append(pin.note))
    with closing(memory_module.Memory(tmp_path / "state")) as memory:
        for number in range(5):
            memory.put(Pin(url="", origin="dev/ledger/0", vkeys=[], note=str(number)))
        assert written == ["0"]
    assert written == ["0", "4"]
