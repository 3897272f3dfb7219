"""Files that a crash cannot halve: what witnesses, verifiers and publishers must not forget."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pactstream.errors import Fatal, Retryable

_LOCK = ".lock"


class StorageFailed(Retryable):
    """The disk is full, failing, or not ours to use. Nothing that was durable is lost."""


class Held(Fatal):
    """Another process holds the directory."""


def read(path: Path, max_bytes: int) -> bytes | None:
    """A file's content; None where there is none.

    Raises:
        StorageFailed: it cannot be read.
        Fatal: it is longer than `max_bytes`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageFailed(f"{path.name} cannot be read: {error.strerror}") from None
    if len(data) > max_bytes:
        raise Fatal(f"{path.name} is longer than {max_bytes} bytes")
    return data


def replace(path: Path, data: bytes) -> None:
    """Put `data` under the name, whole or not at all, durable when this returns; makes the directory.

    Raises:
        StorageFailed: it cannot be written, and what is under the name is the old content or the new.
    """
    place(path, data)
    # A crash here leaves the old content or the new one under the name, whole in either case.
    sync(path.parent)


def place(path: Path, data: bytes) -> None:
    """As `replace`, but the name is durable only once its directory is: call `sync`, once for many files.

    Raises:
        StorageFailed: it cannot be written, and what is under the name is the old content or the new.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            # A crash here leaves the temporary file, which nothing reads, and the old content.
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageFailed(f"{path.name} cannot be stored: {error.strerror}") from None


def sync(directory: Path) -> None:
    """Make durable which names are in a directory. Raises `StorageFailed`."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageFailed(f"{directory.name} cannot be stored: {error.strerror}") from None


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Keep every other process that asks for the same out of `directory`; a crash lets go by itself.

    Raises:
        Held: another process holds it.
        StorageFailed: it cannot be made or opened.
    """
    import fcntl  # here, because the rest of the command line works without POSIX

    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFailed(f"{directory.name} cannot be used: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Held(f"another process uses the directory {directory.name}") from None
        yield
    finally:
        os.close(descriptor)
