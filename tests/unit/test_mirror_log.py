"""Mirroring a log: whole or not at all, never a fork, whatever its source does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pactstream.errors import Fatal, InvalidInput, Retryable
from pactstream.ledger.cosignature import Cosigner, Policy
from pactstream.ledger.files import StorageFailed
from pactstream.ledger.note import format_note, parse_note
from pactstream.ledger.pins import PinBook
from pactstream.ledger.tile_store import TileDirectory
from pactstream.ledger.tiles import MAX_BUNDLE_BYTES
from pactstream.ledger.tiles import Published as File
from pactstream.ledger.verification import Verification, source
from pactstream.mirror.log import LogMirror, LogRefused
from pactstream.trust.oracle import Oracle
from tests.mirror_tools import COSIGNER, KEYS, ORIGIN, ledger_mirror, log_mirror
from tests.published_ledger import Published, changed, leaves, published, relinked, signer_of
from tests.trust_oracle import TestOracle, serving
from tests.unit.test_deadline import answering

ENTRIES = leaves(1_100)
CUTS = (100, 200, 256, 300, 513, 600, 700)


@pytest.fixture
def oracle(tmp_path: Path) -> Iterator[TestOracle]:
    with serving(tmp_path) as running:
        running.files |= published(ENTRIES[:600], CUTS).files
        yield running


@pytest.fixture
def client(oracle: TestOracle) -> Iterator[Oracle]:
    with closing(Oracle(oracle.url, 2)) as client:
        yield client


def verified(directory: Path, state: Path) -> int:
    """Verify what is in the mirror's directory, our cosignature included; its size."""
    place = directory.parent
    (place / "keys").write_text(f"{signer_of(0).verifier.vkey()}\n")
    policy = Policy((COSIGNER.verifier,), 1)
    (result,) = Verification(str(place.parent), source(str(place.parent)), PinBook(state), policy=policy).run()
    assert [str(one) for one in result.findings] == []
    return result.checkpoint.size if result.checkpoint else 0


def test_what_is_mirrored_verifies_and_has_both_signatures(
    oracle: TestOracle, client: Oracle, tmp_path: Path
) -> None:
    mirror = log_mirror(client, tmp_path / "m/ledger/0")
    assert mirror.size == 0
    assert mirror.advance()
    assert mirror.note is not None
    assert [one.name for one in parse_note(mirror.note).signatures] == [ORIGIN, COSIGNER.name]
    assert verified(tmp_path / "m/ledger/0", tmp_path / "seen") == 600
    oracle.files |= published(ENTRIES, CUTS).files
    assert mirror.advance()
    assert verified(tmp_path / "m/ledger/0", tmp_path / "seen") == 1_100
    # The files are those of the source, but for partial ones that a full one replaced.
    for path in (one for one in (tmp_path / "m/ledger/0").rglob("*") if one.is_file()):
        if path.name != "checkpoint":
            assert path.read_bytes() == oracle.files[f"ledger/0/{path.relative_to(tmp_path / 'm/ledger/0')}"]


def test_the_same_again_changes_nothing(oracle: TestOracle, client: Oracle, tmp_path: Path) -> None:
    first = log_mirror(client, tmp_path / "m")
    first.advance()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "m").rglob("*")}
    assert not first.advance()
    again = log_mirror(client, tmp_path / "m")
    assert again.note == first.note
    assert not again.advance()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "m").rglob("*")} == before


def test_other_witnesses_lines_are_served_as_they_come(
    oracle: TestOracle, client: Oracle, tmp_path: Path
) -> None:
    mirror = log_mirror(client, tmp_path / "m")
    mirror.advance()
    shown = parse_note(oracle.files["ledger/0/checkpoint"])
    other = Cosigner("witness.example/w", COSIGNER.private_key).cosign(shown.text, 1)
    oracle.files["ledger/0/checkpoint"] = format_note(shown.text, [*shown.signatures, other])
    before = mirror.note
    assert mirror.advance()
    assert mirror.note is not None
    names = [one.name for one in parse_note(mirror.note).signatures]
    assert names == [ORIGIN, "witness.example/w", COSIGNER.name]
    assert before is not None
    assert parse_note(mirror.note).signatures[-1] == parse_note(before).signatures[-1]


def rewritten() -> Published:
    entries = [*ENTRIES]
    entries[7] = changed(entries[7], tool="wipe")
    return published(relinked(entries), CUTS)


def same_size() -> Published:
    return published(relinked([changed(one, tool="wipe") for one in ENTRIES[:600]]), CUTS)


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (rewritten, "its first 600 leaves are not those mirrored"),
        (same_size, "two checkpoints of 600 leaves"),
        (lambda: published(ENTRIES[:300], CUTS), "rolled back: 600 leaves are mirrored, 300 are shown"),
        (lambda: published(ENTRIES[:600], (90,)), "two checkpoints of 600 leaves"),
        (lambda: Published(files={}), "no longer published"),
    ],
)
def test_a_fork_or_rollback_is_refused_and_the_last_good_one_stays(
    oracle: TestOracle, client: Oracle, tmp_path: Path, shown: Callable[[], Published], reason: str
) -> None:
    mirror = log_mirror(client, tmp_path / "m/ledger/0")
    mirror.advance()
    kept = mirror.note
    oracle.files = shown().files
    for _ in range(2):
        with pytest.raises(LogRefused, match=reason):
            mirror.advance()
    assert mirror.note == kept
    assert log_mirror(client, tmp_path / "m/ledger/0").note == kept
    assert verified(tmp_path / "m/ledger/0", tmp_path / "seen") == 600
    oracle.files = published(ENTRIES, CUTS).files
    assert mirror.advance()


def wrong_entry(files: dict[str, bytes]) -> None:
    data = files["ledger/0/tile/entries/000"]
    files["ledger/0/tile/entries/000"] = data.replace(b'"lookup"', b'"wiping"', 1)


def wrong_tile(files: dict[str, bytes]) -> None:
    files["ledger/0/tile/0/001"] = files["ledger/0/tile/0/001"][:-1] + b"\0"


def wrong_header(files: dict[str, bytes]) -> None:
    paths = [path for path in files if path.startswith("ledger/0/segments/")]
    for path in paths:
        files[path] = files[path].replace(b"2026-05-13", b"2026-05-14", 1)


def no_tile(files: dict[str, bytes]) -> None:
    del files["ledger/0/tile/0/000"]


def wrong_signature(files: dict[str, bytes]) -> None:
    note = parse_note(files["ledger/0/checkpoint"])
    text = note.text.replace("1100", "1099", 1)
    files["ledger/0/checkpoint"] = format_note(text, note.signatures)


def huge(files: dict[str, bytes]) -> None:
    files["ledger/0/tile/entries/002"] = bytes(MAX_BUNDLE_BYTES + 1)


@pytest.mark.parametrize("spoil", [wrong_entry, wrong_tile, wrong_header, no_tile, wrong_signature, huge])
def test_a_source_that_lies_gets_nothing_cosigned(
    oracle: TestOracle, client: Oracle, tmp_path: Path, spoil: Callable[[dict[str, bytes]], None]
) -> None:
    mirror = log_mirror(client, tmp_path / "m/ledger/0")
    oracle.files = published(ENTRIES, CUTS).files
    spoil(oracle.files)
    with pytest.raises(InvalidInput if spoil is not huge else Retryable):
        mirror.advance()
    assert mirror.note is None
    # What it stored on the way was right: when the source is right again, it goes on.
    oracle.files = published(ENTRIES, CUTS).files
    assert mirror.advance()
    assert verified(tmp_path / "m/ledger/0", tmp_path / "seen") == 1_100


def test_a_source_that_drips_is_given_up(tmp_path: Path) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", bytes(9_999)) as (url, _):
        with closing(Oracle(url, 0.2)) as client:
            ledger = ledger_mirror(client, tmp_path)
            ledger.look(0)
        assert "does not answer" in ledger.standings[0].fault
        assert not ledger.standings[0].refused


class _Crash(Exception):
    """Stands for the end of the process."""


class DyingStore(TileDirectory):
    """Ends the process at the n-th write: before it, or after it."""

    def __init__(self, directory: Path, at: int, *, persisted: bool) -> None:
        super().__init__(directory)
        self._left, self._persisted = at, persisted

    def _write(self, write: Callable[[], None]) -> None:
        self._left -= 1
        if self._left:
            write()
            return
        if self._persisted:
            write()
        raise _Crash

    def put(self, published: Iterable[File]) -> None:
        files = list(published)
        self._write(lambda: TileDirectory.put(self, files))

    def replace_checkpoint(self, old: bytes | None, new: bytes) -> None:
        self._write(lambda: TileDirectory.replace_checkpoint(self, old, new))

    def prune(self, published: Iterable[str]) -> None:
        paths = list(published)
        self._write(lambda: TileDirectory.prune(self, paths))


@pytest.mark.parametrize("persisted", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_crash_at_each_write_leaves_a_whole_log(
    oracle: TestOracle, client: Oracle, tmp_path: Path, at: int, persisted: bool
) -> None:
    place = tmp_path / "m/ledger/0"
    log_mirror(client, place).advance()
    oracle.files |= published(ENTRIES, CUTS).files
    with pytest.raises(_Crash):
        log_mirror(client, place, DyingStore(place, at, persisted=persisted)).advance()
    replaced = at > 3 or (at == 3 and persisted)  # full files, partial files, checkpoint, pruning
    assert verified(place, tmp_path / "seen") == (1_100 if replaced else 600)
    assert log_mirror(client, place).advance() != replaced
    assert verified(place, tmp_path / "seen") == 1_100


def test_what_was_fetched_before_a_crash_is_not_fetched_again(
    oracle: TestOracle, client: Oracle, tmp_path: Path
) -> None:
    oracle.files |= published(ENTRIES, CUTS).files
    with pytest.raises(_Crash):
        log_mirror(client, tmp_path, DyingStore(tmp_path, 1, persisted=True)).advance()
    oracle.asked.clear()
    log_mirror(client, tmp_path).advance()
    assert [path for path in oracle.asked if "entries" in path] == ["ledger/0/tile/entries/004.p/76"]


def test_a_full_disk_is_waited_for(
    oracle: TestOracle, client: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = log_mirror(client, tmp_path)

    def full(*_: object) -> None:
        raise StorageFailed("checkpoint cannot be stored: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(TileDirectory, "replace_checkpoint", full)
        with pytest.raises(Retryable, match="No space"):
            mirror.advance()
    assert mirror.note is None
    assert mirror.advance()


def test_a_damaged_disk_is_said_and_not_taken_for_a_fork(
    oracle: TestOracle, client: Oracle, tmp_path: Path
) -> None:
    log_mirror(client, tmp_path).advance()
    (tmp_path / "tile/0/002.p/88").write_bytes(bytes(88 * 32))
    oracle.files |= published(ENTRIES, CUTS).files
    with pytest.raises(Fatal, match="damaged on disk"):
        log_mirror(client, tmp_path).advance()


def test_anothers_state_is_refused(oracle: TestOracle, client: Oracle, tmp_path: Path) -> None:
    log_mirror(client, tmp_path).advance()
    fetch = dict[str, bytes]().__getitem__
    stranger = Cosigner("other.example/m", COSIGNER.private_key)
    with pytest.raises(Fatal, match="not this mirror's"):
        LogMirror(ORIGIN, KEYS[ORIGIN], fetch, TileDirectory(tmp_path), stranger)
    with pytest.raises(Fatal, match="is of dev/ledger/0"):
        LogMirror("dev/ledger/1", KEYS[ORIGIN], fetch, TileDirectory(tmp_path), COSIGNER)
