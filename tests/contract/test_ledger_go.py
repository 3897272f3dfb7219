"""The served ledger verifies with code that nobody here wrote: torchwood and Go's sumdb packages, on Go."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import Thread
from uuid import UUID

import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from oracle_api.ledger import Proofs, PublishedLedger
from pactstream.ledger import note
from pactstream.ledger.cosignature import Cosigner
from pactstream.ledger.verification import source
from pactstream.signing.keys import create_keys
from tests.oracle_states import FakeStore
from tests.published_ledger import leaves, published, signer_of, write
from tests.stack import eventually
from tests.unit.test_oracle_api import build

HERE = Path(__file__).with_name("go")
GO = shutil.which("go")
EVENT = UUID(int=77)
WITNESS = Cosigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
OTHER = Cosigner("other.example/w", Ed25519PrivateKey.from_private_bytes(b"o" * 32))
COUNT = 66_000  # more than 256 · 256: three levels of tiles, each with a partial one
INDEX = 65_700

pytestmark = pytest.mark.skipif(GO is None, reason="Go is not installed")


@cache
def all_leaves() -> list[bytes]:
    return leaves(COUNT)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The verifying program, built from the modules that `go.sum` names by hash."""
    program = tmp_path_factory.mktemp("go") / "stranger"
    command = [str(GO), "build", "-mod=readonly", "-o", str(program), "."]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return program


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of an oracle that serves a cosigned log, and the directory that it serves."""
    directory = tmp_path_factory.mktemp("published")
    log = published(all_leaves(), (300, COUNT - 7))
    opened = note.parse_note(log.note)
    cosigned = note.format_note(opened.text, [*opened.signatures, WITNESS.cosign(opened.text, 1_778_666_402)])
    write(log.files | {"ledger/0/checkpoint": cosigned}, directory)
    ledger = PublishedLedger(Proofs(source(str(directory))), lambda _: [(0, INDEX, str(UUID(int=1)))])
    app = build(FakeStore(), create_keys(directory / "keys", "report"), ledger=ledger)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            eventually(lambda: server.started, 30)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", directory
        finally:
            server.should_exit = True
            thread.join()


def verify(stranger: Path, url: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [str(stranger), "-log", f"{url}/ledger/0", "-key", signer_of(0).verifier.vkey(), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_stranger_verifies_checkpoint_cosignature_tiles_entries_and_proofs(
    stranger: Path, oracle: tuple[str, Path]
) -> None:
    url, _ = oracle
    done = verify(
        stranger,
        url,
        *("-witness", WITNESS.verifier.vkey()),
        *("-proof", f"{url}/api/v1/ledger/events/{EVENT}/proof"),
        *("-consistency", f"{url}/api/v1/ledger/0/consistency?from=300"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"size {COUNT}",
        f"entries {sha256(b''.join(all_leaves())).hexdigest()}",
        f"proof of {sha256(all_leaves()[INDEX]).hexdigest()}",
        "consistent with size 300",
    ]


def test_a_stranger_refuses_what_is_not_the_logs(stranger: Path, oracle: tuple[str, Path]) -> None:
    url, directory = oracle
    assert verify(stranger, url, "-witness", OTHER.verifier.vkey()).returncode == 1
    bundle = directory / "ledger/0/tile/entries/100"
    honest = bundle.read_bytes()
    bundle.write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
    done = verify(stranger, url)
    bundle.write_bytes(honest)
    assert done.returncode == 1
    assert "entries" not in done.stdout
