"""The publishing process is killed at each durable step; an auditor who remembers checks the log each time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger_sealer import wiring
from pactstream.ledger.cosignature import Cosigner, Policy
from pactstream.ledger.note import NoteVerifier
from pactstream.ledger.pins import PinBook
from pactstream.ledger.tiles import Missing
from pactstream.ledger.verification import Verification, source
from pactstream.ledger.witness import Witness
from pactstream.settings import environment
from tests import dying_publisher
from tests.dying_publisher import DIED, STEPS
from tests.forked import exit_code
from tests.oracle_process import variables
from tests.sealer_stack import Setup, build, running
from tests.sealer_tools import Evaluated
from tests.stack import ClickHouseAddress, eventually
from tests.witness_process import WitnessMemory, witness_thread

ORIGIN = "test.example/ledger/0"
WITNESS = Cosigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
FATES = [(step, fate) for step in STEPS for fate in ("lost", "persisted")]
FATES += [(step, "halved") for step in ("full tiles", "partial tiles")]
LEAVES_A_ROUND = 300  # more than a tile has: each round fills one
TIMEOUT_SECONDS = 60


@pytest.fixture
def setup(
    kafka_bootstrap: str, topic_prefix: str, clickhouse_database: ClickHouseAddress, tmp_path: Path
) -> Iterator[Setup]:
    known: dict[str, list[NoteVerifier]] = {}
    with (
        witness_thread(Witness(WITNESS, known, WitnessMemory())) as url,
        build(
            kafka_bootstrap,
            topic_prefix,
            clickhouse_database,
            tmp_path / "keys",
            key_dir=tmp_path / "keys",
            tiles_dir=tmp_path / "published",
            publish_interval_seconds=0,
            witnesses=f"{url} {WITNESS.verifier.vkey()}",
        ) as made,
    ):
        known[ORIGIN] = [made.key.note_signer(ORIGIN).verifier]
        yield made


def audit(directory: Path, state: Path) -> int:
    """Verify everything that is published, against all that was before; its size."""
    try:
        source(str(directory))("ledger/keys")
    except Missing:
        return 0  # killed before the very first write
    policy = Policy((WITNESS.verifier,), 1)
    results = Verification(str(directory), source(str(directory)), PinBook(state), policy=policy).run()
    assert [str(finding) for one in results for finding in one.findings] == []
    return sum(one.checkpoint.size for one in results if one.checkpoint)


def die(setup: Setup, step: str, fate: str) -> None:
    names = environment() | variables(setup.settings)
    assert exit_code(dying_publisher.main, step, fate, variables=names) == DIED, (step, fate)


def test_killed_anywhere_it_never_forks_and_loses_nothing(setup: Setup, tmp_path: Path) -> None:
    published, state = tmp_path / "published", tmp_path / "state"
    batches = Evaluated()
    sizes = []
    with running(setup.sealer()):
        for count, (step, fate) in enumerate(FATES, 1):
            setup.write(batches.batches(6, size=50))
            eventually(lambda: sealed(setup) == LEAVES_A_ROUND * count, TIMEOUT_SECONDS, 0.05)  # noqa: B023
            die(setup, step, fate)
            sizes.append(audit(published, state))
    total = LEAVES_A_ROUND * len(FATES)
    assert sizes == sorted(sizes)
    assert sizes[FATES.index(("checkpoint", "persisted"))] > sizes[FATES.index(("checkpoint", "lost"))]
    with running(wiring.build_publisher(setup.settings, setup.key, setup.database, published).run):
        eventually(lambda: audit(published, state) == total, TIMEOUT_SECONDS, 0.2)
    # One that was never killed publishes the same bytes.
    fresh = tmp_path / "fresh"
    with running(wiring.build_publisher(setup.settings, setup.key, setup.database, fresh).run):
        eventually(lambda: audit(fresh, tmp_path / "other") == total, TIMEOUT_SECONDS, 0.2)
    for path in (one for one in (fresh / "ledger/0").rglob("*") if one.is_file() and one.name[0] != "."):
        assert path.read_bytes() == (published / path.relative_to(fresh)).read_bytes(), path


def sealed(setup: Setup) -> int:
    return sum(one.header.leaves for one in setup.published())
