"""The proof in a report: of the newest leaf, under the published checkpoint, as soon as there is one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oracle_api import reports
from oracle_api.ledger import Proofs
from oracle_api.reports import Reports, Signer
from pactstream.ledger import merkle
from pactstream.ledger.note import open_checkpoint
from pactstream.signing.keys import SigningKey, create_keys
from tests.oracle_states import AGENT, FakeStandings, FakeStore
from tests.published_ledger import Published, fetch_from, published
from tests.trust_oracle import ENTRIES, state_of

LOG = published(ENTRIES[:300], ())


@pytest.fixture
def keys(tmp_path: Path) -> tuple[SigningKey, ...]:
    return create_keys(tmp_path / "keys", "report")


@pytest.fixture(autouse=True)
def always_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_SERVE_SECONDS", -1)


def issued(kept: Reports) -> dict[str, Any]:
    async def ask() -> bytes:
        found = await kept.get(AGENT)
        assert found is not None
        return found.json.body

    ledger: dict[str, Any] = json.loads(asyncio.run(ask()))["ledger"]
    return ledger


def store_of(log: Published) -> FakeStore:
    """ClickHouse, where all of the log is."""
    store, sealed = FakeStore(), state_of(log)
    assert store.state is not None
    store.state = replace(store.state, head=sealed.head, checkpoint=sealed.checkpoint, inclusion=None)
    return store


def kept(keys: tuple[SigningKey, ...], files: dict[str, bytes], store: FakeStore | None = None) -> Reports:
    return Reports(
        store or store_of(LOG), Signer(keys, "i", "dev", 300), FakeStandings(), Proofs(fetch_from(files))
    )


def test_the_proof_leads_from_the_head_to_the_checkpoint_beside_it(keys: tuple[SigningKey, ...]) -> None:
    later = published(ENTRIES[:400], (300,))
    for log in (LOG, later):
        ledger = issued(kept(keys, log.files))
        tree = open_checkpoint(ledger["checkpoint"].encode(), "dev/ledger/0", [LOG.signer.verifier])
        assert tree == log.checkpoint
        path = [bytes.fromhex(one) for one in ledger["inclusionProof"]]
        leaf = bytes.fromhex(ledger["head"]["leafHash"])
        merkle.verify_inclusion(leaf, ledger["head"]["leafIndex"], tree.size, path, tree.root)


def test_a_busy_agents_report_names_the_last_leaf_that_is_published(keys: tuple[SigningKey, ...]) -> None:
    """Its newest leaf is sealed and not published: with it nobody could check the report."""
    older = published(ENTRIES[:200], ())
    files, store = dict(older.files), store_of(LOG)
    earlier = state_of(older).head
    assert store.state is not None
    assert store.state.head is not None
    assert earlier is not None
    store.heads = [store.state.head, earlier]
    ours = kept(keys, files, store)
    named = issued(ours)
    assert named["head"]["leafIndex"] == earlier.leaf_index < store.state.head.leaf_index
    assert named["checkpoint"] == older.note.decode()
    path = [bytes.fromhex(one) for one in named["inclusionProof"]]
    leaf = bytes.fromhex(named["head"]["leafHash"])
    merkle.verify_inclusion(leaf, earlier.leaf_index, older.checkpoint.size, path, older.checkpoint.root)
    files |= LOG.files
    assert issued(ours)["head"]["leafIndex"] == store.state.head.leaf_index


def test_what_is_not_published_yet_has_no_proof_until_it_is(keys: tuple[SigningKey, ...]) -> None:
    files = dict(published(ENTRIES[:200], ()).files)
    ours = kept(keys, files)
    assert issued(ours)["inclusionProof"] is None
    assert issued(ours)["checkpoint"] == LOG.note.decode()
    files |= LOG.files
    proven = issued(ours)
    assert proven["inclusionProof"]
    files |= published(ENTRIES[:400], (300,)).files
    assert issued(ours) == proven  # others' leaves change nothing
