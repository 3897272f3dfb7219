"""The command line of a witness: its key, and the list of logs that it watches."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from pactstream.cli.witness import app, read_logs
from pactstream.errors import Fatal
from pactstream.ledger.cosignature import CosignatureVerifier
from pactstream.ledger.log_keys import LogKey
from pactstream.ledger.note import NoteSigner

LOGS = [
    NoteSigner(f"dev/ledger/{number}", Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)).verifier
    for number in range(2)
]


def test_a_witness_gets_a_key_once(tmp_path: Path) -> None:
    arguments = ["key", "witness.example/w", "--dir", str(tmp_path / "keys")]
    first, second = (CliRunner().invoke(app, arguments, catch_exceptions=False) for _ in range(2))
    assert first.stdout == second.stdout
    assert CosignatureVerifier.from_vkey(first.stdout.strip()).name == "witness.example/w"
    with pytest.raises(Fatal, match="a key name"):
        CliRunner().invoke(app, ["key", "a name", *arguments[2:]], catch_exceptions=False)


def test_the_list_of_logs(tmp_path: Path) -> None:
    path = tmp_path / "logs"
    again = NoteSigner(LOGS[0].name, Ed25519PrivateKey.from_private_bytes(b"n" * 32)).verifier
    path.write_text(f"# known logs\n{LOGS[0].vkey()}\n\n{LOGS[1].vkey()}\n{again.vkey()}\n")
    assert read_logs(path) == {LOGS[0].name: [LogKey(LOGS[0]), LogKey(again)], LOGS[1].name: [LogKey(LOGS[1])]}


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "logs"
    with pytest.raises(Fatal, match="is missing"):
        read_logs(path)
    for data in (b"\xff\n", b"junk\n", LOGS[0].vkey().encode() + b"x\n"):
        path.write_bytes(data)
        with pytest.raises(Fatal, match="no verifier key"):
            read_logs(path)
