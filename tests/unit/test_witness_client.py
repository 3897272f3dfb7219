"""Gathering cosignatures: conflicts, witnesses that fail or lie, and the quorum."""

from __future__ import annotations

import logging
import re
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream.errors import Retryable
from pactstream.ledger import merkle, note
from pactstream.ledger.cosignature import Cosigner, open_cosigned
from pactstream.ledger.merkle import MemoryTree
from pactstream.ledger.note import Checkpoint, NoteError, NoteSigner
from pactstream.ledger.witness import Witness
from pactstream.ledger.witness_client import Cosigners, QuorumMissed, Reply, WitnessAddress, http_send
from tests.http_servers import serving

LOG = NoteSigner("dev/ledger/0", Ed25519PrivateKey.from_private_bytes(bytes(32)))
TREE = MemoryTree(merkle.leaf_hash(b"%d" % number) for number in range(40))


class Memory(dict[str, bytes]):
    def put(self, origin_hash: str, cosigned: bytes) -> None:
        self[origin_hash] = cosigned


class Net:
    """Witnesses by URL; `replies` overrides what one answers, `sent` counts."""

    def __init__(self, *names: str) -> None:
        self.sent: list[str] = []
        self.replies: dict[str, Reply | Exception] = {}
        self.cosigners = [Cosigner(name, Ed25519PrivateKey.generate()) for name in names]
        self.witnesses = {
            f"https://{one.name}/add-checkpoint": Witness(one, {LOG.name: [LOG.verifier]}, Memory())
            for one in self.cosigners
        }

    def addresses(self) -> list[WitnessAddress]:
        return [WitnessAddress(f"https://{one.name}/", one.verifier) for one in self.cosigners]

    def send(self, url: str, body: bytes) -> Reply:
        self.sent.append(url)
        reply = self.replies.get(url)
        if isinstance(reply, Exception):
            raise reply
        if reply is not None:
            return reply
        answer = self.witnesses[url].add_checkpoint(body)
        return Reply(answer.status, answer.body)

    def gather(self, quorum: int, *, fail_closed: bool = True) -> Cosigners:
        return Cosigners(self.addresses(), quorum, self.send, fail_closed=fail_closed)


def cosign(cosigners: Cosigners, size: int, tree: MemoryTree = TREE) -> bytes:
    signed = note.sign_checkpoint(Checkpoint(LOG.name, size, tree.root(size)), [LOG])
    return cosigners.cosign(signed, lambda old: merkle.consistency_proof(old, size, tree.node))


def signers(data: bytes) -> list[str]:
    return [one.name for one in note.parse_note(data).signatures]


def test_all_witnesses_cosign_each_checkpoint() -> None:
    net = Net("a.example", "b.example")
    gather = net.gather(2)
    for size in (1, 5, 40):
        data = cosign(gather, size)
        assert signers(data) == [LOG.name, "a.example", "b.example"]
        policy = gather._policy
        assert len(open_cosigned(data, LOG.name, [LOG.verifier], policy).cosigned_at) == 2
    assert len(net.sent) == 6


def test_after_a_restart_the_size_is_asked_for() -> None:
    net = Net("a.example")
    cosign(net.gather(1), 5)
    net.sent.clear()
    assert signers(cosign(net.gather(1), 8)) == [LOG.name, "a.example"]
    assert len(net.sent) == 2  # refused with the size, then taken


def test_too_few_cosignatures_stop_a_log_that_fails_closed() -> None:
    net = Net("a.example", "b.example")
    net.replies["https://b.example/add-checkpoint"] = Retryable("it does not answer")
    with pytest.raises(QuorumMissed, match="1 of 2 witnesses cosigned size 5, the quorum is 2"):
        cosign(net.gather(2), 5)
    assert signers(cosign(net.gather(1), 5)) == [LOG.name, "a.example"]
    assert signers(cosign(net.gather(2, fail_closed=False), 5)) == [LOG.name, "a.example"]


def test_a_log_without_witnesses_is_left_as_it_is() -> None:
    data = cosign(Cosigners([], 0, Net().send), 5)
    assert signers(data) == [LOG.name]
    with pytest.raises(NoteError):
        Cosigners([], 1, Net().send)
    with pytest.raises(NoteError):
        Cosigners([], 0, Net().send).cosign(b"no note", lambda _: [])


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(422, b"fork\x1b[2J"), r"answers 422: 'fork\\x1b\[2J'"),
        (Reply(409, b"nine\n"), "answers 409: 'nine'"),
        (Reply(409, b"9"), "answers 409: '9'"),
        (Reply(409, b"9\n"), "cosigned size 9 already, ours is 5"),
        (Reply(409, b"3\n"), "cosigned another tree of size 3: the log was forked"),
        (Reply(200, b""), "no good cosignature"),
        (Reply(200, b"\xff"), "not signature lines"),
        (Reply(200, b"junk\n"), "not signature lines"),
        (Reply(200, LOG.sign("other text\n").line().encode()), "no good cosignature"),
    ],
)
def test_what_a_failing_witness_says_is_logged(
    reply: Reply, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    net = Net("a.example")
    net.replies["https://a.example/add-checkpoint"] = reply
    with caplog.at_level(logging.WARNING), pytest.raises(QuorumMissed):
        cosign(net.gather(1), 5)
    (message,) = caplog.messages
    assert re.search(f"^dev/ledger/0: no cosignature by a.example: .*{reason}", message)


def test_a_witness_that_names_another_size_each_time_is_left(caplog: pytest.LogCaptureFixture) -> None:
    net = Net("a.example")
    sizes = iter((b"1\n", b"2\n", b"3\n"))
    gather = Cosigners(net.addresses(), 1, lambda _, __: Reply(409, next(sizes)))
    with caplog.at_level(logging.WARNING), pytest.raises(QuorumMissed):
        cosign(gather, 5)
    assert "another size at each of 3 attempts" in caplog.text


def test_a_cosignature_of_another_checkpoint_does_not_count() -> None:
    net = Net("a.example")
    other = net.cosigners[0].cosign(Checkpoint(LOG.name, 6, bytes(32)).text(), 1)
    net.replies["https://a.example/add-checkpoint"] = Reply(200, other.line().encode())
    with pytest.raises(QuorumMissed):
        cosign(net.gather(1), 5)


def test_lines_of_unknown_keys_are_ignored() -> None:
    net = Net("a.example")
    text = Checkpoint(LOG.name, 5, TREE.root(5)).text()
    stranger = Cosigner("a.example", Ed25519PrivateKey.generate()).cosign(text, 1).line()
    good = net.cosigners[0].cosign(text, 2).line()
    net.replies["https://a.example/add-checkpoint"] = Reply(200, (stranger + good).encode())
    assert signers(cosign(net.gather(1), 5)) == [LOG.name, "a.example"]


class _Echo(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(409)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def test_over_http() -> None:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), _Echo)) as address:
        reply = http_send(5.0)(f"{address}/add-checkpoint", b"9\n")
    assert reply == Reply(409, b"9\n")


def test_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Retryable, match="does not answer"):
        http_send(1.0)(f"http://127.0.0.1:{port}/add-checkpoint", b"")
