"""State stores: what they give back, how far they say they are, and what they do with what cannot be used."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pactstream.errors import Fatal, Retryable
from pactstream.kafka.disk_store import DiskStore, Mark, Origin, Shared, open_store
from pactstream.kafka.state_store import MemoryStore, StateStore
from pactstream.kafka.stores import MAX_AGE_MICROS, fault_of

ORIGIN = Origin("cluster", "t.evaluator.state", "id-1", 3)
SHARED = Shared.new()
CHANGES = [
    (b"b/9", b"nine"),
    (b"a", b"head"),
    (b"a/10", b"ten"),
    (b"a/9", b"nine"),
    (b"ab/1", b"of another"),
    (b"a!", b"of another"),
]


def nothing_wrong(_: Mark) -> None:
    """Any store will do."""


def opened(
    directory: Path, origin: Origin = ORIGIN, check: Callable[[Mark], str | None] = nothing_wrong
) -> DiskStore:
    return open_store(directory / "3", origin, SHARED, check)


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StateStore:
    return MemoryStore() if request.param == "memory" else opened(tmp_path)


def test_gives_an_owners_records_in_the_order_they_were_last_written(store: StateStore) -> None:
    store.write(CHANGES, 6)
    assert list(store.of(b"a").items()) == [(b"", b"head"), (b"10", b"ten"), (b"9", b"nine")]
    store.write([(b"a/10", b"new"), (b"a", b"newer"), (b"a/9", None), (b"a/1", None)], 10)
    assert list(store.of(b"a").items()) == [(b"10", b"new"), (b"", b"newer")]
    assert store.of(b"b") == {b"9": b"nine"}
    assert store.of(b"nobody") == {}
    assert store.position == 10
    store.close()


def test_says_how_much_it_holds_also_once_closed(store: StateStore) -> None:
    assert store.size_bytes < 10_000  # RocksDB's empty buffers count
    before = store.size_bytes
    store.write([(b"a", b"." * 2_000_000), (b"b", b"." * 1_000_000)], 2)
    assert store.size_bytes - before >= 3_000_000
    if isinstance(store, MemoryStore):
        store.write([(b"a", b".."), (b"b", None)], 4)
        assert store.size_bytes == 3
    store.close()
    assert store.size_bytes in (0, 3)


def test_goes_round_all_records_a_few_at_a_time(store: StateStore) -> None:
    assert store.next_records(5) == []
    store.write(CHANGES, 6)
    seen: list[tuple[bytes, bytes]] = []
    while len(seen) < 2 * len(CHANGES):
        some = store.next_records(4)
        assert len(some) <= 4
        seen += some
    assert {key: seen.count((key, value)) for key, value in CHANGES} == {key: 2 for key, _ in CHANGES}
    store.close()


def test_what_is_on_disk_is_there_again(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.write(CHANGES[:3], 3)
    store.write(CHANGES[3:], 7)
    store.close()
    again = opened(tmp_path)
    assert (again.position, again.mark.origin) == (7, ORIGIN)
    assert list(again.of(b"a")) == [b"", b"10", b"9"]
    again.close()


def test_two_processes_never_open_one_store(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(Retryable, match="same instance name"):
        opened(tmp_path)
    store.close()
    opened(tmp_path).close()


@pytest.mark.parametrize(
    ("origin", "named"),
    [
        (Origin("another", ORIGIN.topic, ORIGIN.topic_id, 3), "cluster"),
        (Origin(ORIGIN.cluster, "u.evaluator.state", ORIGIN.topic_id, 3), "topic"),
        (Origin(ORIGIN.cluster, ORIGIN.topic, "id-2", 3), "topic_id"),
        (Origin(ORIGIN.cluster, ORIGIN.topic, ORIGIN.topic_id, 4), "partition"),
        (Origin(ORIGIN.cluster, ORIGIN.topic, ORIGIN.topic_id, 3, format=2), "format"),
    ],
)
def test_anothers_store_is_built_anew(
    tmp_path: Path, origin: Origin, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened(tmp_path, origin)
    store.write(CHANGES, 6)
    store.close()
    again = opened(tmp_path)
    assert (again.position, again.of(b"a")) == (0, {})
    assert f"of another {named}" in caplog.text
    again.close()


def test_a_store_that_the_changelog_does_not_lead_on_from_is_built_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened(tmp_path)
    store.write(CHANGES, 6)
    store.close()
    again = opened(tmp_path, check=lambda mark: fault_of(mark, first=0, end=5, now_micros=0))
    assert (again.position, again.of(b"a")) == (0, {})
    assert "the changelog ends at 5" in caplog.text
    again.close()


@pytest.mark.parametrize(
    ("position", "age", "fault"),
    [
        (0, 0, None),
        (10, 0, None),
        (20, 0, None),
        (21, 0, "ends at 20"),
        (4, 0, "begins at 5"),
        (18, MAX_AGE_MICROS + 1, "deletions"),
        (18, MAX_AGE_MICROS, None),
        # Nothing but the marker of its own last transaction is behind it.
        (19, MAX_AGE_MICROS + 1, None),
        (0, MAX_AGE_MICROS + 1, None),
    ],
)
def test_when_a_changelog_leads_on_from_a_store(position: int, age: int, fault: str | None) -> None:
    found = fault_of(Mark(ORIGIN, position, 1_000), first=5, end=20, now_micros=1_000 + age)
    assert (found is None) == (fault is None)
    assert fault is None or fault in (found or "")


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def _filled(directory: Path) -> Path:
    """A closed store whose records are in a file, with their checksums."""
    store = opened(directory)
    store.write([(b"a/%d" % number, os.urandom(500)) for number in range(100)], 100)
    store._db.flush()
    store.close()
    return next((directory / "3").glob("*.sst"))


def test_a_bad_block_is_found_when_it_is_read_and_the_store_built_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = _filled(tmp_path)
    _flip(file, file.stat().st_size // 2)
    store = opened(tmp_path)
    with pytest.raises(Retryable, match="Corruption"):
        store.of(b"a")
    store.close()
    again = opened(tmp_path)
    assert (again.position, again.of(b"a")) == (0, {})
    assert "it is damaged" in caplog.text
    again.close()


@pytest.mark.parametrize("pattern", ["*.sst", "MANIFEST-*", "CURRENT"])
def test_a_store_with_a_file_missing_is_built_anew(tmp_path: Path, pattern: str) -> None:
    _filled(tmp_path)
    next((tmp_path / "3").glob(pattern)).unlink()
    store = opened(tmp_path)
    assert (store.position, store.of(b"a")) == (0, {})
    store.close()


@pytest.mark.parametrize("cut", ["between", "within"])
def test_a_power_cut_leaves_the_store_at_an_earlier_commit(tmp_path: Path, cut: str) -> None:
    """Records and position together; half of the last batch is dropped."""
    store = opened(tmp_path / "a")
    (log,) = (tmp_path / "a" / "3").glob("*.log")
    store.write(CHANGES[:3], 3)
    whole = log.stat().st_size
    store.write(CHANGES[3:], 6)
    longer = log.stat().st_size
    # As the disk has it at that moment: closing would tidy up.
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    store.close()
    os.truncate(tmp_path / "b" / "3" / log.name, whole if cut == "between" else (whole + longer) // 2)
    again = opened(tmp_path / "b")
    assert (again.position, list(again.of(b"a"))) == (3, [b"", b"10"])
    again.close()


def test_a_directory_that_cannot_be_used_stops_the_worker(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Fatal, match="cannot be used"):
        opened(tmp_path / "file")
