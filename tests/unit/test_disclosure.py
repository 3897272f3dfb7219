"""A disclosure proves one value of one leaf, and no byte of it can change."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream import canonical, clock
from pactstream.errors import InvalidInput
from pactstream.ledger import disclosure, merkle
from pactstream.ledger.disclosure import Disclosed, DisclosureError, Opening
from pactstream.ledger.leaf import GENESIS, LeafError, Source, build_leaf
from pactstream.ledger.note import Checkpoint, NoteSigner, sign_checkpoint
from pactstream.ledger.tlog_proof import TlogProof
from pactstream.signing.keys import SigningKey, create_keys
from pactstream.signing.report import ReportError, ReportExpired
from tests.sealer_tools import agent_id, event, event_id

ORIGIN = "dev/ledger/0"
SIGNER = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))
ISSUER = "dev.example"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    keys = create_keys(tmp_path_factory.mktemp("keys") / "k", "report")
    return next(one for one in keys if one.algorithm == "Ed25519")


@dataclass
class Made:
    """A leaf in a log of seven, and what opens it."""

    proof: TlogProof
    openings: dict[str, Any]
    key: SigningKey = field(repr=False)

    def opening(self, name: str) -> Opening:
        raw = self.openings[name]
        return Opening(name, bytes.fromhex(raw["salt"]), canonical.value_bytes(raw["value"]))

    def disclose(self, name: str = "params.amount", **changes: Any) -> bytes:
        options: dict[str, Any] = {"audience": "Globex", "issuer": ISSUER, "key": self.key, "valid_seconds": 60}
        return disclosure.make(self.proof, self.opening(name), **(options | changes))

    def verify(self, data: bytes, **changes: Any) -> Disclosed:
        options: dict[str, Any] = {
            "issuer": ISSUER,
            "verifiers": {ORIGIN: [SIGNER.verifier]},
            "now_micros": clock.now_micros(),
        }
        return disclosure.verify(data, {"keys": [self.key.public.members()]}, **(options | changes))


@pytest.fixture(scope="module")
def made(key: SigningKey) -> Made:
    built = build_leaf(
        event(event_id(1, 1), 0) | {"params": b'{"amount":250.10,"to":"0xA11A","huge":12345678901234567890.5}'},
        None,
        agent_id=agent_id(1),
        tenant="tenant-1",
        received_at="2026-05-13T10:00:01.000000Z",
        source=Source(0, 0, 0, "telemetry.batches"),
        head=GENESIS,
    )
    hashes = [bytes([number]) * 32 for number in range(7)]
    hashes[3] = merkle.leaf_hash(built.leaf)
    tree = merkle.MemoryTree(hashes)
    note = sign_checkpoint(Checkpoint(ORIGIN, 7, tree.root(), ()), [SIGNER])
    path = merkle.inclusion_proof(3, 7, tree.node)
    assert built.private is not None
    return Made(TlogProof(3, tuple(path), note, built.leaf), canonical.parse_exact(built.private), key)


def test_it_proves_the_exact_value_and_shows_no_other(made: Made) -> None:
    data = made.disclose()
    found = made.verify(data)
    assert (found.field, found.value, found.audience, found.issuer) == (
        "params.amount",
        "250.1",
        "Globex",
        ISSUER,
    )
    assert (found.leaf.agent_id, found.leaf.event_id) == (agent_id(1), event_id(1, 1))
    assert b"0xA11A" not in data
    assert made.openings["params.to"]["salt"].encode() not in data
    assert made.verify(made.disclose("params.huge")).value == "12345678901234567890.5"
    assert disclosure.origin_of(data) == ORIGIN


def test_every_change_of_a_bit_is_refused(made: Made) -> None:
    data = made.disclose()
    now = clock.now_micros()
    accepted = []
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        try:
            made.verify(bytes(changed), now_micros=now)
        except InvalidInput:
            continue
        accepted.append((at, data[max(0, at - 20) : at + 1]))
    assert accepted == []


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"v":1}', b"[" * 100_000])
def test_what_is_no_disclosure_is_refused(made: Made, data: bytes) -> None:
    with pytest.raises(DisclosureError, match="not a disclosure"):
        made.verify(data)
    with pytest.raises(DisclosureError, match="not a disclosure"):
        disclosure.origin_of(data)


def test_a_huge_file_is_refused(made: Made) -> None:
    with pytest.raises(DisclosureError, match="at most"):
        made.verify(b" " * (disclosure.MAX_BYTES + 1))


def test_another_form_of_the_same_json_is_refused(made: Made) -> None:
    with pytest.raises(DisclosureError, match="not in canonical form"):
        made.verify(json.dumps(json.loads(made.disclose()), indent=1).encode())


def resigned(made: Made, **changes: Any) -> bytes:
    """As an operator who lies would: another statement, rightly signed."""
    from pactstream.signing.report import sign_report

    document = json.loads(made.disclose())
    statement = document["statement"]
    del statement["signatures"]
    document["statement"] = sign_report({**statement, **changes}, [made.key])
    return canonical.dumps(document) + b"\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agentId": agent_id(2)}, "not of the agent and event"),
        ({"eventId": event_id(1, 2)}, "not of the agent and event"),
        ({"field": "params.to"}, "not what the leaf commits to"),
        ({"field": "params.none"}, "has no commitment"),
        ({"proofSha256": "0" * 64}, "not the one that the statement names"),
        ({"audience": ""}, "statement is malformed"),
        ({"type": "report"}, "statement is malformed"),
    ],
)
def test_not_even_the_operator_can_say_what_the_leaf_does_not(
    made: Made, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        made.verify(resigned(made, **changes))


def test_two_signatures_and_another_form_of_the_value_are_refused(made: Made) -> None:
    document = json.loads(made.disclose())
    (signature,) = document["statement"]["signatures"]
    document["statement"]["signatures"] = [signature, signature]
    with pytest.raises(DisclosureError, match="one signature"):
        made.verify(canonical.dumps(document) + b"\n")
    with pytest.raises(DisclosureError, match="the value is not in canonical form"):
        made.verify(made.disclose().replace(b'"value":"250.1"', b'"value":"250.10"'))


def test_another_issuer_log_or_time(made: Made, tmp_path: Path) -> None:
    data = made.disclose()
    with pytest.raises(ReportError):
        made.verify(data, issuer="elsewhere.example")
    with pytest.raises(ReportExpired):
        made.verify(data, now_micros=clock.now_micros() + 61 * clock.MICROS_PER_SECOND)
    with pytest.raises(InvalidInput):
        made.verify(data, verifiers={})
    (_, other) = create_keys(tmp_path / "k", "report")
    with pytest.raises(ReportError):
        Made(made.proof, made.openings, other).verify(data)


def test_what_does_not_open_the_leaf_is_not_disclosed(made: Made) -> None:
    good = made.opening("params.amount")
    for opening in (
        good._replace(value=b"251"),
        good._replace(salt=bytes(16)),
        good._replace(field="params.to"),
        good._replace(salt=good.salt + b"2", value=b"50.1"),
    ):
        with pytest.raises(LeafError):
            disclosure.make(
                made.proof, opening, audience="Globex", issuer=ISSUER, key=made.key, valid_seconds=60
            )
    with pytest.raises(InvalidInput):
        made.disclose(audience="")
    with pytest.raises(InvalidInput):
        made.disclose(audience="x" * 201)
