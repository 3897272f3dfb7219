"""A witness: what it cosigns, what it refuses with which status, and what it still knows after a crash."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream.errors import Fatal
from pactstream.ledger import files, merkle, note
from pactstream.ledger.cosignature import Cosigner, Policy, open_cosigned
from pactstream.ledger.merkle import MemoryTree
from pactstream.ledger.note import Checkpoint, NoteSigner
from pactstream.ledger.witness import MAX_REQUEST_BYTES, SIZE_TYPE, Answer, Request, Witness, hash_origin
from pactstream.ledger.witness_http import application
from pactstream.ledger.witness_store import WitnessFiles
from tests.asgi import ask

ORIGIN = "dev/ledger/0"
LOG = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))
STRANGER = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"s" * 32))
COSIGNER = Cosigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
POLICY = Policy((COSIGNER.verifier,), 1)
TREE = MemoryTree(merkle.leaf_hash(b"%d" % number) for number in range(40))
FORK = MemoryTree(merkle.leaf_hash(b"other %d" % number) for number in range(40))


def signed(size: int, tree: MemoryTree = TREE, signer: NoteSigner = LOG, origin: str = ORIGIN) -> bytes:
    return note.sign_checkpoint(Checkpoint(origin, size, tree.root(size)), [signer])


def request(old: int, new: int, tree: MemoryTree = TREE) -> bytes:
    return Request(old, tuple(merkle.consistency_proof(old, new, tree.node)), signed(new, tree)).encode()


class Memory(dict[str, bytes]):
    """A store that can fail, before or after it took what it was given."""

    fails_before = fails_after = False

    def put(self, origin_hash: str, cosigned: bytes) -> None:
        if self.fails_before:
            raise Fatal("the disk is full")
        self[origin_hash] = cosigned
        if self.fails_after:
            raise Fatal("the disk went away")


def witness(store: Memory | WitnessFiles | None = None, seconds: int = 1_700_000_000) -> Witness:
    return Witness(
        COSIGNER, {ORIGIN: [LOG.verifier]}, Memory() if store is None else store, lambda: seconds * 1_000_000
    )


def cosigned_at(answer: Answer, size: int, tree: MemoryTree = TREE) -> int:
    """The time in the cosignature of an answer, verified as a client would."""
    assert answer.status == 200, answer
    opened = open_cosigned(signed(size, tree) + answer.body, ORIGIN, [LOG.verifier], POLICY)
    return opened.cosigned_at[COSIGNER.name]


def test_a_log_that_grows_is_cosigned() -> None:
    one = witness()
    sizes = [0, 1, 5, 8, 40]
    for old, new in zip([0, *sizes], sizes, strict=False):
        assert cosigned_at(one.add_checkpoint(request(old, new)), new) == 1_700_000_000


def test_the_body_is_the_specifications() -> None:
    body = request(3, 5).decode()
    head, _, rest = body.partition("\n\n")
    assert head.split("\n")[0] == "old 3"
    assert len(head.split("\n")) == 1 + len(merkle.consistency_proof(3, 5, TREE.node))
    assert rest.encode() == signed(5)


def test_another_old_size_is_answered_with_the_size() -> None:
    one = witness()
    one.add_checkpoint(request(0, 5))
    for old in (0, 3, 7):
        assert one.add_checkpoint(request(old, 8)) == Answer(409, b"5\n", SIZE_TYPE)
    assert witness().add_checkpoint(request(3, 5)) == Answer(409, b"0\n", SIZE_TYPE)


def test_a_fork_is_refused_whatever_proof_comes_with_it() -> None:
    one = witness()
    one.add_checkpoint(request(0, 5))
    assert one.add_checkpoint(request(5, 8, FORK)).status == 422
    assert one.add_checkpoint(request(5, 5, FORK)) == Answer(409, b"5\n", SIZE_TYPE)
    assert one.add_checkpoint(Request(5, (bytes(32),), signed(5, FORK)).encode()).status == 422
    mixed = Request(5, tuple(merkle.consistency_proof(5, 8, TREE.node)), signed(8, FORK)).encode()
    assert one.add_checkpoint(mixed).status == 422
    assert cosigned_at(one.add_checkpoint(request(5, 8)), 8)


def test_one_signature_for_one_size() -> None:
    store = Memory()
    first = witness(store).add_checkpoint(request(0, 5))
    assert witness(store, seconds=1_800_000_000).add_checkpoint(request(5, 5)) == first
    other = Checkpoint(ORIGIN, 5, TREE.root(5), ("segment 7 " + "ab" * 32,))
    answer = witness(store).add_checkpoint(Request(5, (), note.sign_checkpoint(other, [LOG])).encode())
    assert answer.status == 422
    assert b"another note of size 5" in answer.body


def test_a_smaller_tree_is_refused() -> None:
    one = witness()
    one.add_checkpoint(request(0, 8))
    assert one.add_checkpoint(Request(8, (), signed(5)).encode()).status == 400
    assert one.add_checkpoint(request(0, 5)).status == 409


def test_logs_and_keys_that_it_does_not_know() -> None:
    one = witness()
    elsewhere = Request(0, (), signed(5, origin="dev/ledger/1", signer=LOG)).encode()
    assert one.add_checkpoint(elsewhere).status == 404
    assert one.add_checkpoint(Request(0, (), signed(5, signer=STRANGER)).encode()).status == 403
    good = note.parse_note(signed(5))
    bad = note.NoteSignature(ORIGIN, LOG.verifier.key_id, bytes(64))
    assert one.add_checkpoint(Request(0, (), note.format_note(good.text, [bad])).encode()).status == 403
    # Signatures of unknown keys are ignored, and not kept.
    both = note.sign_checkpoint(Checkpoint(ORIGIN, 5, TREE.root(5)), [STRANGER, LOG])
    assert one.add_checkpoint(Request(0, (), both).encode()).status == 200
    kept = note.parse_note(one.latest(hash_origin(ORIGIN)) or b"")
    assert [signature.key_id for signature in kept.signatures] == [
        LOG.verifier.key_id,
        COSIGNER.verifier.key_id,
    ]


def test_roots_of_empty_trees_and_proofs_from_them() -> None:
    one = witness()
    wrong = note.sign_checkpoint(Checkpoint(ORIGIN, 0, bytes(32)), [LOG])
    assert one.add_checkpoint(Request(0, (), wrong).encode()).status == 422
    assert one.add_checkpoint(Request(0, (bytes(32),), signed(5)).encode()).status == 422


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n\n",
        b"old 0\n" + signed(5),
        b"old -1\n\n" + signed(5),
        b"old 00\n\n" + signed(5),
        b"old  0\n\n" + signed(5),
        b"new 0\n\n" + signed(5),
        b"\xff\n\n" + signed(5),
        b"old 0\n!\n\n" + signed(5),
        b"old 0\nAAAA\n\n" + signed(5),
        b"old 0\n\n\n" + signed(5),
        b"old 0\n\nno note\n",
        b"old 0\n\n" + note.sign_note("no checkpoint\n", [LOG]),
        b"old 6\n\n" + signed(5),
        Request(0, (bytes(32),) * 64, signed(5)).encode(),
    ],
)
def test_a_malformed_request(body: bytes) -> None:
    assert witness().add_checkpoint(body).status == 400


def test_a_request_that_is_too_long() -> None:
    assert witness().add_checkpoint(b"x" * (MAX_REQUEST_BYTES + 1)).status == 413


def test_a_store_that_fails_leaves_no_answer() -> None:
    store = Memory()
    store.fails_before = True
    with pytest.raises(Fatal):
        witness(store).add_checkpoint(request(0, 5))
    store.fails_before = False
    # Nothing was stored and nobody saw a signature: another tree may be the first.
    assert cosigned_at(witness(store).add_checkpoint(request(0, 5, FORK)), 5, FORK)


def test_a_crash_after_the_store_took_it_gives_the_same_signature_again() -> None:
    store = Memory()
    store.fails_after = True
    with pytest.raises(Fatal):
        witness(store).add_checkpoint(request(0, 5))
    store.fails_after = False
    assert witness(store).add_checkpoint(request(0, 5, FORK)).status == 409
    later = witness(store, seconds=1_800_000_000)
    assert cosigned_at(later.add_checkpoint(request(5, 5)), 5) == 1_700_000_000


def test_what_is_not_its_own_stops_it() -> None:
    for stored in (b"garbage", signed(5), note.sign_note("text\n", [LOG])):
        store = Memory({hash_origin(ORIGIN): stored})
        with pytest.raises(Fatal, match="not its own"):
            witness(store).add_checkpoint(request(0, 5))
    elsewhere = Checkpoint("dev/ledger/1", 5, TREE.root(5)).text()
    stored = note.format_note(elsewhere, [COSIGNER.cosign(elsewhere, 1)])
    with pytest.raises(Fatal, match="is of dev/ledger/1"):
        witness(Memory({hash_origin(ORIGIN): stored})).add_checkpoint(request(0, 5))


def test_of_two_trees_at_once_one_is_cosigned() -> None:
    for _ in range(20):
        one = witness()
        bodies = [request(0, 5), request(0, 5, FORK)] * 2
        with ThreadPoolExecutor(4) as pool:
            statuses = sorted(answer.status for answer in pool.map(one.add_checkpoint, bodies))
        assert statuses == [200, 409, 409, 409]


def test_files_remember_across_restarts(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    assert witness(WitnessFiles(directory)).latest(hash_origin(ORIGIN)) is None
    witness(WitnessFiles(directory)).add_checkpoint(request(0, 5))
    again = witness(WitnessFiles(directory))
    assert again.add_checkpoint(request(0, 8)).status == 409
    assert cosigned_at(again.add_checkpoint(request(5, 8)), 8)
    assert [path.name for path in directory.iterdir()] == [f"{hash_origin(ORIGIN)}.checkpoint"]


def test_a_directory_serves_one_process(tmp_path: Path) -> None:
    with files.held(tmp_path), pytest.raises(Fatal, match="another process uses"), files.held(tmp_path):
        pass
    with files.held(tmp_path):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(files.StorageFailed, match="cannot be used"), files.held(tmp_path / "file"):
        pass


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert files.read(path, 10) is None
    files.replace(path, b"0123456789")
    assert files.read(path, 10) == b"0123456789"
    with pytest.raises(Fatal, match="longer than 9 bytes"):
        files.read(path, 9)
    with pytest.raises(files.StorageFailed, match="cannot be read"):
        files.read(tmp_path, 9)
    with pytest.raises(files.StorageFailed, match="cannot be stored"):
        files.replace(path / "below a file", b"")
    (tmp_path / "directory").mkdir()
    with pytest.raises(files.StorageFailed, match="cannot be stored"):
        files.replace(tmp_path / "directory", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "directory"]


def test_over_http() -> None:
    app = application(witness())
    answer = ask(app, "/add-checkpoint", "POST", content=request(0, 5))
    assert answer.status_code == 200
    assert cosigned_at(Answer(200, answer.content), 5)
    conflict = ask(app, "/add-checkpoint", "POST", content=request(0, 8))
    assert (conflict.status_code, conflict.text) == (409, "5\n")
    assert conflict.headers["content-type"] == SIZE_TYPE
    assert ask(app, "/add-checkpoint", "POST", content=b"x" * 200_000).status_code == 413
    assert ask(app, "/add-checkpoint").status_code == 405
    latest = ask(app, f"/{hash_origin(ORIGIN)}/checkpoint")
    assert latest.content == signed(5) + answer.content
    assert latest.headers["content-type"] == "text/plain; charset=utf-8"
    for unknown in (hash_origin("dev/ledger/1"), "..%2fkeys"):
        assert ask(app, f"/{unknown}/checkpoint").status_code == 404
    assert ask(app, "/healthz").status_code == 200
    store = Memory()
    store.fails_before = True
    failed = ask(application(witness(store)), "/add-checkpoint", "POST", content=request(0, 5))
    assert (failed.status_code, failed.text) == (500, "the disk is full\n")
