"""State on disk, for more of it than memory holds: a RocksDB of each partition (docs/adr/0016).

The store follows the changelog and never leads it. Changes are written after the Kafka transaction that carries
them has committed, in one RocksDB batch with the offset they reach up to. So a crash, wherever it comes, leaves
the store at some commit of the past, and the changelog from there on leads to the present.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteBufferManager,
)

from pactstream import clock
from pactstream.errors import Fatal, Retryable
from pactstream.kafka.state_store import Change, split

FORMAT: Final = 1

_MARK: Final = b"m"
_RECORD: Final = b"r"
_ORDER_BYTES: Final = 8
_DAMAGED: Final = "DAMAGED"
_SIZES: Final = ("rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables")
_BLOOM_BITS: Final = 10
_BUFFER_BYTES: Final = 16 << 20
_CACHE_BYTES: Final = 32 << 20

_log = logging.getLogger(__name__)


class Origin(msgspec.Struct, frozen=True):
    """Which changelog a store was made of. A topic that is made anew has another id, whatever its name."""

    cluster: str
    topic: str
    topic_id: str
    partition: int
    format: int = FORMAT


class Mark(msgspec.Struct, frozen=True):
    """How far a store has come; `written_at_micros` is wall-clock time, to tell how long it has lain."""

    origin: Origin
    position: int = 0
    written_at_micros: int = 0


class Shared(NamedTuple):
    """Memory that all stores of a process share: blocks read, and what is not yet in files."""

    cache: Cache
    buffers: WriteBufferManager

    @classmethod
    def new(cls) -> Shared:
        """48 MB together, however many partitions a process holds."""
        return cls(Cache(_CACHE_BYTES), WriteBufferManager(_BUFFER_BYTES, False))


_encode_mark = msgspec.msgpack.Encoder().encode
_decode_mark = msgspec.msgpack.Decoder(Mark).decode


class DiskStore:
    """One partition's store, open in this process alone; `open_store` makes them."""

    def __init__(self, directory: Path, origin: Origin, shared: Shared, lock: Lock) -> None:
        """Open a store, empty if there is none. Raises Retryable: it cannot be read; the lock stays."""
        self._directory = directory
        self._lock = lock
        self._cursor = _RECORD
        with self._failures():
            self._db = Rdict(str(directory), _options(shared))
        try:
            with self._failures():
                found = self._db.get(_MARK)
                self.mark = Mark(origin) if found is None else _decode_mark(found)
        except Retryable:
            self._db.close()
            raise

    @property
    def position(self) -> int:  # noqa: D102 - as in StateStore
        return self.mark.position

    @property
    def size_bytes(self) -> int:  # noqa: D102 - as in StateStore
        try:
            return sum(self._db.property_int_value(name) or 0 for name in _SIZES)
        except Exception:  # noqa: BLE001 - RocksDB raises plain ones: it is closed
            return 0

    def of(self, owner: bytes) -> dict[bytes, bytes]:  # noqa: D102 - as in StateStore
        own = _RECORD + owner
        with self._failures():
            first = self._db.get(own)
            found = [(value, split(key)[1]) for key, value in self._scan(own + b"/", own + b"0")]
        if first is not None:
            found.append((first, b""))
        # A value's first bytes say when it was written.
        return {name: value[_ORDER_BYTES:] for value, name in sorted(found)}

    def next_records(self, most: int) -> list[tuple[bytes, bytes]]:  # noqa: D102 - as in StateStore
        with self._failures():
            found = list(self._scan(self._cursor, None, most))
        self._cursor = found[-1][0] + b"\0" if len(found) == most else _RECORD
        return [(key[len(_RECORD) :], value[_ORDER_BYTES:]) for key, value in found]

    def write(self, changes: Iterable[Change], position: int) -> None:  # noqa: D102 - as in StateStore
        listed = list(changes)
        batch = WriteBatch(raw_mode=True)
        # The last of the changes stands before `position`; each has a place of its own in the order.
        for order, (key, value) in enumerate(listed, start=position - len(listed)):
            if value is None:
                batch.delete(_RECORD + key)
            else:
                batch.put(_RECORD + key, order.to_bytes(_ORDER_BYTES, "big") + value)
        mark = Mark(self.mark.origin, position, clock.now_micros())
        batch.put(_MARK, _encode_mark(mark))
        with self._failures():
            # A crash before this line leaves the store at its last position: the changelog has the rest.
            # RocksDB writes the batch to its log as one record with a checksum, and drops half of one when it
            # opens. The log is not forced to disk: after a power cut the store may be further behind, no more.
            self._db.write(batch)
        self.mark = mark

    def close(self) -> None:  # noqa: D102 - as in StateStore
        self.shut()
        self._lock.release()

    def shut(self) -> None:
        """Close the store and keep the lock."""
        self._db.close()

    def _scan(self, start: bytes, end: bytes | None, most: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        options = ReadOptions()
        if end is not None:
            options.set_iterate_upper_bound(end)
        at = self._db.iter(options)
        at.seek(start)
        while at.valid() and most != 0:
            yield at.key(), at.value()
            at.next()
            most = None if most is None else most - 1
        # An iterator that meets a bad block ends as if there were no more.
        at.status()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """RocksDB raises plain `Exception`s; "Corruption" is its status for a failed checksum."""
        try:
            yield
        except Exception as error:
            if "Corruption" in str(error) or isinstance(error, msgspec.MsgspecError):
                # Whoever opens it next sees this and builds it anew; without it he might not notice.
                (self._directory / _DAMAGED).touch()
            raise Retryable(f"the state in {self._directory} cannot be used: {error}") from error


class Lock:
    """The right to one store, held by a process until it ends or lets go (flock(2))."""

    def __init__(self, path: Path) -> None:
        """Take it. Raises Retryable: another process has it; OSError: the file cannot be had."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise Retryable(
                f"{path} is locked by another process: does one run under the same instance name?"
            ) from None

    def release(self) -> None:
        """Let another process have the store."""
        os.close(self._file)


def open_store(
    directory: Path, origin: Origin, shared: Shared, fault_of: Callable[[Mark], str | None]
) -> DiskStore:
    """The store in a directory; an empty one, with a line in the log, where what is there cannot be used.

    `fault_of` says what is wrong with a store that has come so far, if anything.

    Raises:
        Retryable: another process has it.
        Fatal: the directory cannot be used.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = Lock(directory.with_suffix(".lock"))
        try:
            return _opened(directory, origin, shared, lock, fault_of)
        except BaseException:
            lock.release()
            raise
    except OSError as error:
        raise Fatal(f"the state directory {directory} cannot be used: {error.strerror}") from error


def _opened(
    directory: Path, origin: Origin, shared: Shared, lock: Lock, fault_of: Callable[[Mark], str | None]
) -> DiskStore:
    if (directory / _DAMAGED).exists():
        fault = "it is damaged"
    else:
        try:
            store = DiskStore(directory, origin, shared, lock)
        except Retryable as error:
            fault = str(error)
        else:
            found = _foreign(store.mark, origin) or fault_of(store.mark)
            if found is None:
                return store
            store.shut()
            fault = found
    _log.warning("the state in %s is built anew from the changelog: %s", directory, fault)
    # A crash here leaves part of a store: RocksDB misses files that it knows of, or finds nothing to open.
    shutil.rmtree(directory)
    directory.mkdir()
    return DiskStore(directory, origin, shared, lock)


def _foreign(mark: Mark, origin: Origin) -> str | None:
    theirs, ours = msgspec.structs.asdict(mark.origin), msgspec.structs.asdict(origin)
    differing = [name for name in ours if theirs[name] != ours[name]]
    return f"it is of another {' and '.join(differing)}" if differing else None


def _options(shared: Shared) -> Options:
    table = BlockBasedOptions()
    table.set_bloom_filter(_BLOOM_BITS, False)
    table.set_block_cache(shared.cache)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_manager(shared.buffers)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(2)
    options.set_max_open_files(256)
    return options
