"""A witness as a process: killed at once after its answer, it still knows what it cosigned."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream.devstack.ports import free_port
from pactstream.ledger import merkle, note
from pactstream.ledger.cosignature import CosignatureVerifier, Policy, open_cosigned
from pactstream.ledger.merkle import MemoryTree
from pactstream.ledger.note import Checkpoint, NoteSigner
from pactstream.ledger.witness import Request
from pactstream.ledger.witness_client import Reply, http_send
from tests.witness_process import witness_key, witness_process

NAME = "witness.example/w"
LOG = NoteSigner("dev/ledger/0", Ed25519PrivateKey.from_private_bytes(bytes(32)))
TREE = MemoryTree(merkle.leaf_hash(b"%d" % number) for number in range(10))
DEADLINE_SECONDS = 30.0


def signed(size: int) -> bytes:
    return note.sign_checkpoint(Checkpoint(LOG.name, size, TREE.root(size)), [LOG])


def post(port: int, old: int, new: int) -> Reply:
    body = Request(old, tuple(merkle.consistency_proof(old, new, TREE.node)), signed(new)).encode()
    return http_send(10.0)(f"http://127.0.0.1:{port}/add-checkpoint", body)


@contextmanager
def serving(directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    with witness_process(directory, NAME, port) as process:
        yield process, port


def test_a_witness_that_is_killed_remembers(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text(f"{LOG.verifier.vkey()}\n")
    key = witness_key(tmp_path, NAME)
    policy = Policy((CosignatureVerifier.from_vkey(key),), 1)
    with serving(tmp_path) as (process, port):
        first = post(port, 0, 5)
        process.kill()
    assert open_cosigned(signed(5) + first.body, LOG.name, [LOG.verifier], policy).cosigned_at
    with serving(tmp_path) as (process, port):
        assert post(port, 0, 8) == Reply(409, b"5\n")
        assert post(port, 5, 5) == first
        assert post(port, 5, 8).status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0
