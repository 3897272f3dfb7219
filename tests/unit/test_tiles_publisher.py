"""Publishing: the same bytes wherever it was interrupted, and never a second history."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream.errors import Fatal
from pactstream.ledger import files, merkle, segment
from pactstream.ledger.cosignature import Cosigner
from pactstream.ledger.files import StorageFailed
from pactstream.ledger.published import LogVerification, Seen
from pactstream.ledger.publisher import LogPublisher, Sealed, Store
from pactstream.ledger.tile_store import TileDirectory
from pactstream.ledger.tiles import Missing, Published, TileError
from pactstream.ledger.witness import Witness
from pactstream.ledger.witness_client import Cosigners, QuorumMissed, Reply, WitnessAddress
from tests.published_ledger import changed, leaves, signer_of

SIGNER = signer_of(0)
ORIGIN = SIGNER.name
LEAVES = leaves(700)
WITNESS = Cosigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(b"w" * 32))


def sealed_log(ends: tuple[int, ...] = (100, 300, 600, 700), entries: list[bytes] = LEAVES) -> list[Sealed]:
    """The segments as the sealer put them into Kafka."""
    tree, end, result = merkle.Frontier(), segment.CHAIN_START, []
    for last in ends:
        part = entries[end.tree_size : last]
        for entry in part:
            tree.append(merkle.leaf_hash(entry))
        one = segment.seal(
            end,
            origin=ORIGIN,
            leaves=len(part),
            root=tree.root(),
            topic="telemetry.evaluated",
            partition=0,
            next_offset=end.next_offset + 1 + len(part),
            sealed_at_micros=1_778_666_402_000_000,
            signers=[SIGNER],
        )
        end = one.chain_end
        result.append(Sealed(one.header_bytes, one.note, part))
    return result


SEALED = sealed_log()


class Crash(Exception):
    pass


class Memory:
    """A store that fails at one operation: with the write lost, or persisted."""

    def __init__(self, crash_at: int | None = None, *, persisted: bool = False) -> None:
        self.files: dict[str, bytes] = {}
        self.crash_at, self.persisted, self.operations = crash_at, persisted, 0

    def fetch(self, path: str) -> bytes:
        if path not in self.files:
            raise Missing(f"{path} is missing")
        return self.files[path]

    def put(self, files: Iterable[Published]) -> None:
        for path, data in files:
            assert data
            assert self.files.get(path, data) == data, "a published file changed"
            self._write(path, data)

    def replace_checkpoint(self, old: bytes | None, new: bytes) -> None:
        if self.files.get("checkpoint") != old:
            raise Fatal("another one is at work")
        self._write("checkpoint", new)

    def prune(self, paths: Iterable[str]) -> None:
        for path in paths:
            for partial in [name for name in self.files if name.startswith(f"{path}.p/")]:
                del self.files[partial]

    def _write(self, path: str, data: bytes) -> None:
        self.operations += 1
        crash = self.operations == self.crash_at
        if crash and not self.persisted:
            raise Crash
        self.files[path] = data
        if crash:
            raise Crash


def publisher(store: Store, cosigners: Cosigners | None = None) -> LogPublisher:
    return LogPublisher(ORIGIN, lambda: [SIGNER.verifier], store, cosigners)


def verified(store: Store, seen: Seen | None = None) -> Seen | None:
    """What an independent verifier finds published, which must extend what it saw before."""
    result = LogVerification(ORIGIN, [SIGNER.verifier], store.fetch, seen=seen).run()
    assert result.findings == []
    return Seen(result.checkpoint, result.heads) if result.checkpoint else None


def test_segments_are_published_one_by_one_or_many_at_once() -> None:
    one_by_one, at_once = Memory(), Memory()
    single, batch = publisher(one_by_one), publisher(at_once)
    seen = None
    for index, sealed in enumerate(SEALED):
        assert single.next_segment == index
        single.publish([sealed])
        seen = verified(one_by_one, seen)
        assert seen is not None
        assert seen.checkpoint.size == [100, 300, 600, 700][index]
    batch.publish(SEALED)
    assert batch.note == at_once.files["checkpoint"]
    assert at_once.files == {path: one_by_one.files[path] for path in at_once.files}
    assert verified(at_once) == seen


def test_partial_tiles_go_once_the_full_one_is_published() -> None:
    store = Memory()
    one = publisher(store)
    one.publish(SEALED[:1])
    assert "tile/0/000.p/100" in store.files
    one.publish(SEALED[1:2])
    assert "tile/0/000.p/100" not in store.files
    assert {"tile/0/000", "tile/0/001.p/44"} <= store.files.keys()


def test_segments_published_already_are_skipped() -> None:
    store = Memory()
    publisher(store).publish(SEALED[:3])
    operations = store.operations
    again = publisher(store)
    again.publish(SEALED[:2])
    assert store.operations == operations
    again.publish(SEALED)
    assert again.next_segment == 4
    assert verified(store) is not None


def test_after_a_crash_anywhere_the_same_is_published() -> None:
    expected = Memory()
    for sealed in SEALED:
        publisher(expected).publish([sealed])
    crashes = 0
    for persisted in (False, True):
        for crash_at in range(1, expected.operations + 1):
            store, seen = Memory(crash_at, persisted=persisted), None
            one = publisher(store)
            for sealed in SEALED:
                try:
                    one.publish([sealed])
                except Crash:
                    crashes += 1
                    seen = verified(store, seen)
                    one = publisher(store)  # the process was killed: another one begins
                    one.publish([sealed])
                seen = verified(store, seen)
            assert expected.files.items() <= store.files.items()
    assert crashes == 2 * expected.operations


def test_the_same_publisher_goes_on_after_a_failure() -> None:
    store = Memory(crash_at=5)
    one = publisher(store)
    with pytest.raises(Crash):
        one.publish(SEALED[:2])
    one.publish(SEALED)
    assert verified(store) is not None


def test_two_publishers_cannot_both_go_on() -> None:
    store = Memory()
    one, other = publisher(store), publisher(store)
    assert one.next_segment == other.next_segment == 0
    one.publish(SEALED[:1])
    with pytest.raises(Fatal, match="another one is at work"):
        other.publish(SEALED[:2])
    assert verified(store) is not None


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (SEALED[1:], "does not continue the chain"),
        ([SEALED[0]._replace(entries=SEALED[0].entries[:-1])], "do not lead to its root"),
        (
            [SEALED[0]._replace(entries=[changed(LEAVES[0], tool="other"), *LEAVES[1:100]])],
            "do not lead to its root",
        ),
        ([SEALED[0]._replace(note=SEALED[1].note)], "signs another segment"),
        ([SEALED[0]._replace(note=b"")], "a note ends in"),
    ],
)
def test_what_is_not_the_logs_is_not_published(batch: list[Sealed], message: str) -> None:
    store = Memory()
    with pytest.raises(Fatal, match=f"{ORIGIN} cannot be published: .*{message}"):
        publisher(store).publish(batch)
    assert store.files == {}


def test_another_history_is_not_published() -> None:
    store = Memory()
    publisher(store).publish(SEALED[:2])
    other = sealed_log(entries=leaves(700, tool="other"))
    with pytest.raises(Fatal, match="does not continue the chain"):
        publisher(store).publish(other)


def test_damage_is_not_built_upon() -> None:
    store = Memory()
    publisher(store).publish(SEALED[:2])
    path = "tile/0/001.p/44"
    store.files[path] = bytes(len(store.files[path]))
    with pytest.raises(Fatal, match="what is published is damaged"):
        _ = publisher(store).next_segment


def test_failing_open_the_cosignature_is_asked_for_again() -> None:
    store, known = Memory(), dict[str, bytes]()
    away = [True]
    one = publisher(store, witnessed(known, fails=away, fail_closed=False))
    one.publish(SEALED[:1])
    assert store.files["checkpoint"] == SEALED[0].note
    wanted = [one.wants_cosignatures]
    one.publish([])
    wanted.append(one.wants_cosignatures)
    assert store.files["checkpoint"] == SEALED[0].note
    away.clear()
    one.publish([])
    wanted.append(one.wants_cosignatures)
    assert wanted == [True, True, False]
    assert store.files["checkpoint"].count("—".encode()) == 2
    one.publish(SEALED[1:])
    assert verified(store) is not None


def witnessed(store: dict[str, bytes], *, fails: object = False, fail_closed: bool = True) -> Cosigners:
    class Kept:
        get = staticmethod(store.get)
        put = staticmethod(store.__setitem__)

    witness = Witness(WITNESS, {ORIGIN: [SIGNER.verifier]}, Kept())

    def send(_: str, body: bytes) -> Reply:
        answer = witness.add_checkpoint(body)
        return Reply(503, b"") if fails else Reply(answer.status, answer.body)

    address = WitnessAddress("https://witness.example", WITNESS.verifier)
    return Cosigners([address], 1, send, fail_closed=fail_closed)


def test_nothing_is_published_without_the_quorum() -> None:
    store, known = Memory(), dict[str, bytes]()
    publisher(store, witnessed(known)).publish(SEALED[:1])
    assert store.files["checkpoint"].startswith(SEALED[0].note)
    assert store.files["checkpoint"].count("—".encode()) == 2
    before = store.files["checkpoint"]
    one = publisher(store, witnessed(known, fails=True))
    with pytest.raises(QuorumMissed):
        one.publish(SEALED[1:])
    # The witness has cosigned it, and the answer was lost: it gives the same cosignature once more.
    assert store.files["checkpoint"] == before
    assert one.next_segment == 4, "they are kept, to be published with what comes"
    publisher(store, witnessed(known)).publish(SEALED[1:])
    assert store.files["checkpoint"].startswith(SEALED[-1].note)
    assert verified(store) is not None


# --- the directory ---


def test_a_directory_serves_what_was_published(tmp_path: Path) -> None:
    store = TileDirectory(tmp_path / "ledger" / "0")
    for sealed in SEALED[:2]:
        publisher(store).publish([sealed])
    publisher(store).publish(SEALED[2:])
    assert verified(store) is not None
    memory = Memory()
    publisher(memory).publish(SEALED)
    for path, data in memory.files.items():
        assert store.fetch(path) == data
        assert (tmp_path / "ledger" / "0" / path).read_bytes() == data
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
    assert not (tmp_path / "ledger/0/tile/0/000.p").exists()


def test_a_directory_does_not_change_files(tmp_path: Path) -> None:
    store = TileDirectory(tmp_path)
    file = Published("tile/0/000.p/1", bytes(32))
    for _ in range(2):
        store.put([file, file])
    with pytest.raises(Fatal, match="another content"):
        store.put([file._replace(data=b"x" * 32)])
    assert store.fetch(file.path) == bytes(32)
    store.replace_checkpoint(None, b"one")
    for wrong in (None, b"two"):
        with pytest.raises(Fatal, match="another one is at work"):
            store.replace_checkpoint(wrong, b"two")
    store.replace_checkpoint(b"one", b"two")
    assert store.fetch("checkpoint") == b"two"


def test_names_are_durable_before_a_checkpoint_is_put_also_where_a_crash_left_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every folder from the file up to the log's is synced, whoever wrote the file."""
    store = TileDirectory(tmp_path / "0")
    file = Published("tile/entries/x001/000", b"\0\1a")
    for _ in range(2):
        synced: list[Path] = []
        monkeypatch.setattr("pactstream.ledger.files.sync", synced.append)
        store.put([file])
        names = ("tile/entries/x001", "tile/entries", "tile", ".")
        assert set(synced) == {tmp_path / "0" / name for name in names}
    monkeypatch.undo()
    assert store.fetch(file.path) == file.data
    with pytest.raises(StorageFailed, match="cannot be stored"):
        files.sync(tmp_path / "none")


def test_a_directory_gives_out_only_what_is_published(tmp_path: Path) -> None:
    store = TileDirectory(tmp_path / "ledger")
    (tmp_path / "secret").write_text("")
    for path in ("../secret", "secret", "", "tile/0/../../secret"):
        with pytest.raises(TileError, match="not a tile's path"):
            store.fetch(path)
    with pytest.raises(Missing):
        store.fetch("checkpoint")


def test_pruning_a_directory(tmp_path: Path) -> None:
    store = TileDirectory(tmp_path)
    store.put([Published("tile/0/000.p/1", bytes(32)), Published("tile/0/000", bytes(8192))])
    store.prune(["tile/0/000", "tile/0/001"])
    assert [path.name for path in (tmp_path / "tile/0").iterdir()] == ["000"]
    (tmp_path / "tile/0/000.p").write_text("a file, not a directory")
    with pytest.raises(StorageFailed, match="cannot be deleted"):
        store.prune(["tile/0/000"])
