"""Kafka's jars: fetched once, checked against `kafka.lock`, and kept in a cache that is complete or absent.

`kafka.lock` lists every jar as `group:artifact:version size sha256`, so a start resolves nothing, trusts no
server, and needs no network once the cache is there. `python -m pactstream.devstack.jars` writes it anew.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from pactstream.devstack.errors import NoSpace, NotDownloaded
from pactstream.devstack.reporter import Reporter

KAFKA = "org.apache.kafka:kafka_2.13:4.3.0"
# Kafka logs through SLF4J 1.7, and this binding sends that to log4j 2, which Kafka already brings.
LOG_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"
COLD_CACHE_BYTES = 1 << 30
_LOCK_FILE = Path(__file__).with_name("kafka.lock")
_TIMEOUT_SECONDS = 30
_PARALLEL = 4


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned jar."""

    coordinate: str
    size_bytes: int
    sha256: str

    def path(self, repository: Path) -> Path:
        """Where a Maven repository directory keeps it."""
        group, artifact, version = self.coordinate.split(":")
        return repository.joinpath(*group.split("."), artifact, version, f"{artifact}-{version}.jar")

    def is_intact(self, repository: Path) -> bool:
        """Whether it is there, whole and unchanged."""
        path = self.path(repository)
        return path.is_file() and _sha256(path) == self.sha256


def cache_dir() -> Path:
    """`PACTSTREAM_CACHE_DIR`, or the platform's cache directory for Pactstream."""
    return Path(os.environ.get("PACTSTREAM_CACHE_DIR") or platformdirs.user_cache_path("pactstream"))


def pinned(lock_file: Path = _LOCK_FILE) -> tuple[Jar, ...]:
    """The jars that a lock file lists."""
    fields = (line.split() for line in lock_file.read_text().splitlines())
    return tuple(Jar(coordinate, int(size), sha256) for coordinate, size, sha256 in fields)


def classpath(reporter: Reporter, cache: Path | None = None, lock_file: Path = _LOCK_FILE) -> str:
    """Java's class path of Kafka, downloading what is missing; raises `NotDownloaded` or `NoSpace`."""
    jars = pinned(lock_file)
    # Named after its contents: another lock file is another directory.
    repository = (cache or cache_dir()) / f"kafka-{_sha256(lock_file)[:12]}"
    if not repository.is_dir():
        _fill(repository, jars, reporter)
    return os.pathsep.join(str(jar.path(repository)) for jar in jars)


def _fill(repository: Path, jars: tuple[Jar, ...], reporter: Reporter) -> None:
    check_space(repository.parent, COLD_CACHE_BYTES)
    with _exclusive(repository.with_suffix(".lock"), reporter):
        if repository.is_dir():  # another start has filled it while we waited
            return
        # A crash from here on leaves the staging directory; the next start keeps its intact jars.
        staging = repository.with_suffix(".partial")
        try:
            _download([jar for jar in jars if not jar.is_intact(staging)], staging, reporter)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise _no_space(repository.parent, COLD_CACHE_BYTES) from error
            raise
        # A crash before this leaves a complete staging directory; after it, a complete cache.
        staging.rename(repository)


def _download(missing: list[Jar], staging: Path, reporter: Reporter) -> None:
    label = f"Downloading Kafka ({len(missing)} jars)"
    given_up = threading.Event()
    total = sum(jar.size_bytes for jar in missing)
    with reporter.download(label, total) as advance, ThreadPoolExecutor(_PARALLEL) as pool:

        def progress(count: int) -> None:
            if given_up.is_set():
                raise InterruptedError("the download was given up")
            advance(count)

        fetches = [pool.submit(_fetch, jar, staging, progress) for jar in missing]
        try:
            for fetch in fetches:
                fetch.result()
        except BaseException:  # Ctrl-C among them: do not wait for the rest
            given_up.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch(jar: Jar, staging: Path, progress: Callable[[int], None]) -> None:
    import requests
    from jgo.maven import MavenContext, PythonResolver

    jar.path(staging).unlink(missing_ok=True)  # jgo takes a half file for a whole one
    mirror = os.environ.get("PACTSTREAM_MAVEN_REPOSITORY")
    context = MavenContext(
        resolver=PythonResolver(progress_callback=lambda _name, _total: nullcontext(progress)),
        repo_cache=staging,
        remote_repos={"mirror": mirror} if mirror else None,
        timeout=_TIMEOUT_SECONDS,
    )
    try:
        context.create_dependency(jar.coordinate).artifact.resolve()
    except (requests.RequestException, RuntimeError) as error:  # jgo: RuntimeError when no repository has it
        raise NotDownloaded(
            f"Kafka is not in the cache yet and {jar.coordinate} could not be fetched: connect to the network "
            f"and start again, or copy {staging.parent} from a machine that has it"
        ) from error
    if not jar.is_intact(staging):
        jar.path(staging).unlink()
        raise NotDownloaded(
            f"{jar.coordinate} was fetched but is not the pinned file (SHA-256 differs): try again"
        )


def check_space(directory: Path, needed_bytes: int) -> None:
    """Raise `NoSpace` unless the disk that holds `directory` (made if absent) has `needed_bytes` free."""
    directory.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(directory).free < needed_bytes:
        raise _no_space(directory, needed_bytes)


def _no_space(directory: Path, needed_bytes: int) -> NoSpace:
    free = shutil.disk_usage(directory).free
    return NoSpace(
        f"no space left: {directory} has {free >> 20} MiB free and {needed_bytes >> 20} MiB are needed: "
        "make room, or choose another disk (PACTSTREAM_CACHE_DIR for downloads, --data-dir for data)"
    )


@contextmanager
def _exclusive(path: Path, reporter: Reporter) -> Iterator[None]:
    """Hold the lock file; the kernel drops the lock when its holder dies, however it dies."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            reporter.say("Another start is downloading Kafka: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_lock_file() -> None:
    """Resolve Kafka's dependencies and pin them, in a scratch repository."""
    import tempfile

    from jgo.maven import MavenContext, PythonResolver

    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(resolver=PythonResolver(), repo_cache=Path(scratch), timeout=_TIMEOUT_SECONDS)
        # The binding is not resolved along with Kafka: jgo would let the version table of its parent POM, which
        # names an old kafka-clients, rule over Kafka's own.
        inputs, transitive = context.resolver.resolve([context.create_dependency(KAFKA)])
        binding = context.create_dependency(LOG_BINDING)
        lines = []
        for dependency in (*inputs, *transitive, binding):
            path = dependency.artifact.resolve()
            coordinate = f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}"
            lines.append(f"{coordinate} {path.stat().st_size} {_sha256(path)}\n")
    _LOCK_FILE.write_text("".join(sorted(lines)))


if __name__ == "__main__":
    _write_lock_file()
