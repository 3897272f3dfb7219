"""Real witnesses in this process, and a test ledger with their cosignatures, gathered as the sealer does."""

from __future__ import annotations

from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream.ledger.cosignature import Cosigner
from pactstream.ledger.tile_reader import TileReader
from pactstream.ledger.witness import Witness
from pactstream.ledger.witness_client import Cosigners, Reply, WitnessAddress
from tests.published_ledger import Published, signer_of


class Memory(dict[str, bytes]):
    """A witness's store, without a disk."""

    def put(self, origin_hash: str, cosigned: bytes) -> None:
        self[origin_hash] = cosigned


class TestWitness:
    """One witness of the test ledger's log 0; it refuses whatever forks from what it cosigned."""

    __test__ = False

    def __init__(self, name: str) -> None:
        self.cosigner = Cosigner(name, Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b".")))
        signer = signer_of(0)
        self.witness = Witness(self.cosigner, {signer.name: [signer.verifier]}, Memory())

    @property
    def vkey(self) -> str:
        return self.cosigner.verifier.vkey()

    @property
    def address(self) -> WitnessAddress:
        return WitnessAddress(self.cosigner.name, self.cosigner.verifier)


def cosigned(log: Published, *witnesses: TestWitness) -> Published:
    """The log, its checkpoint with the cosignature of each of these who gives one."""
    by_url = {f"{one.address.url}/add-checkpoint": one.witness for one in witnesses}

    def send(url: str, body: bytes) -> Reply:
        answer = by_url[url].add_checkpoint(body)
        return Reply(answer.status, answer.body)

    cosigners = Cosigners([one.address for one in witnesses], 0, send, fail_closed=False)
    reader = TileReader(log.log_fetch, log.checkpoint.size, log.checkpoint.root)
    note = cosigners.cosign(log.note, reader.consistency_proof)
    return replace(log, files={**log.files, f"{log.prefix}checkpoint": note})
