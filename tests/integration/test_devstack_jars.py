"""Kafka's jars from a repository of our own, which can be made to fail."""

from __future__ import annotations

import gc
import hashlib
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pactstream.devstack import jars
from pactstream.devstack.errors import NoSpace, NotDownloaded
from pactstream.devstack.ports import LOOPBACK, free_port
from pactstream.devstack.reporter import Quiet
from tests.stack import eventually

# Until then, the collector may come by itself (see _collect_given_up_downloads).
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

JARS = {f"org.example:part-{n}:1.{n}": bytes([n]) * 200_000 for n in range(6)}


@dataclass
class Repository:
    """Serves JARS; `cut` are the artifacts whose connection ends half-way, `gate` holds every reply back."""

    cut: set[str] = field(default_factory=set)
    contents: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def reply(self, path: str) -> tuple[int, bytes, int]:
        """Status, body and the length to claim."""
        self.requests.append(path)
        self.gate.wait(30)
        body = self.contents.get(path)
        if body is None:
            return 404, b"", 0
        half = any(name in path for name in self.cut)
        return 200, body[: len(body) // 2] if half else body, len(body)


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    repository = Repository()
    repository.gate.set()
    for coordinate, content in JARS.items():
        _group, artifact, version = coordinate.split(":")
        repository.contents[f"/org/example/{artifact}/{version}/{artifact}-{version}.jar"] = content

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body, length = repository.reply(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("PACTSTREAM_MAVEN_REPOSITORY", f"http://{LOOPBACK}:{server.server_port}")
        yield repository
        repository.gate.set()
        server.shutdown()
        thread.join()
    _collect_given_up_downloads()


def _collect_given_up_downloads() -> None:
    """jgo leaves the connection of a download that fails to the garbage collector: let it come now, unheard."""
    eventually(lambda: not any(one.name.startswith("ThreadPool") for one in threading.enumerate()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def lock_file(tmp_path: Path) -> Path:
    lines = (f"{name} {len(body)} {hashlib.sha256(body).hexdigest()}\n" for name, body in JARS.items())
    path = tmp_path / "kafka.lock"
    path.write_text("".join(lines))
    return path


@pytest.fixture
def fetch(tmp_path: Path, lock_file: Path) -> Callable[[], list[Path]]:
    def run() -> list[Path]:
        return [Path(jar) for jar in jars.classpath(Quiet(), tmp_path / "cache", lock_file).split(":")]

    return run


def jar_requests(repository: Repository) -> list[str]:
    return [path for path in repository.requests if path.endswith(".jar")]


def test_the_second_start_asks_nobody(repository: Repository, fetch: Callable[[], list[Path]]) -> None:
    paths = fetch()
    assert [path.read_bytes() for path in paths] == list(JARS.values())
    asked = len(repository.requests)
    assert len(jar_requests(repository)) == len(JARS)
    assert fetch() == paths
    assert len(repository.requests) == asked


def test_progress_counts_every_byte(repository: Repository, tmp_path: Path, lock_file: Path) -> None:
    seen: list[tuple[str, int]] = []
    lock = threading.Lock()

    class Counting(Quiet):
        @contextmanager
        def download(self, label: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
            def advance(count: int) -> None:
                with lock:
                    seen.append((label, count))

            yield advance
            assert sum(count for _, count in seen) == total_bytes

    jars.classpath(Counting(), tmp_path / "cache", lock_file)
    assert {label for label, _ in seen} == {"Downloading Kafka (6 jars)"}


def test_an_interrupted_download_is_resumed(repository: Repository, fetch: Callable[[], list[Path]]) -> None:
    repository.cut = {"part-5"}
    with pytest.raises(
        NotDownloaded, match=r"org\.example:part-5:1\.5 could not be fetched: connect to the network"
    ):
        fetch()
    repository.cut.clear()
    repository.requests.clear()
    assert [path.read_bytes() for path in fetch()] == list(JARS.values())
    assert 1 <= len(jar_requests(repository)) < len(JARS)  # what had arrived whole was kept


def test_a_cold_cache_without_network(
    fetch: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port = free_port()
    monkeypatch.setenv("PACTSTREAM_MAVEN_REPOSITORY", f"http://{LOOPBACK}:{port}")
    with pytest.raises(NotDownloaded) as error:
        fetch()
    message = str(error.value)
    assert "Kafka is not in the cache yet and org.example:part-0:1.0 could not be fetched" in message
    assert f"copy {tmp_path / 'cache'} from a machine that has it" in message
    assert str(port) not in message


def test_a_copied_cache_needs_no_network(
    repository: Repository, fetch: Callable[[], list[Path]], tmp_path: Path, lock_file: Path
) -> None:
    fetch()
    shutil.copytree(tmp_path / "cache", tmp_path / "copy")
    repository.contents.clear()
    paths = jars.classpath(Quiet(), tmp_path / "copy", lock_file).split(":")
    assert [Path(path).read_bytes() for path in paths] == list(JARS.values())


def test_another_file_than_the_pinned_one_is_refused(
    repository: Repository, fetch: Callable[[], list[Path]], tmp_path: Path
) -> None:
    path = next(iter(repository.contents))
    genuine = repository.contents[path]
    repository.contents[path] = b"x" * len(genuine)
    with pytest.raises(NotDownloaded, match=r"org\.example:part-0:1\.0 was fetched but is not the pinned file"):
        fetch()
    repository.contents[path] = genuine
    assert fetch()[0].read_bytes() == genuine


def test_two_starts_at_once_download_once(repository: Repository, tmp_path: Path, lock_file: Path) -> None:
    said: list[str] = []
    waiting = threading.Event()

    class Listening(Quiet):
        def say(self, message: str) -> None:
            said.append(message)
            waiting.set()

    def start() -> str:
        return jars.classpath(Listening(), tmp_path / "cache", lock_file)

    repository.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        starts = [pool.submit(start) for _ in range(2)]
        assert waiting.wait(10)
        repository.gate.set()
        first, second = (start.result() for start in starts)
    assert first == second
    assert len(jar_requests(repository)) == len(JARS)
    assert said == ["Another start is downloading Kafka: waiting for it"]


def test_too_little_space_is_said_before_anything_is_fetched(
    repository: Repository, fetch: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=100 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(
        NoSpace, match="has 100 MiB free and 1024 MiB are needed: make room, or choose another disk"
    ):
        fetch()
    assert repository.requests == []


def test_a_disk_that_fills_up_is_named(
    repository: Repository, fetch: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jars.Jar, "is_intact", full)
    with pytest.raises(NoSpace, match=r"no space left: .*cache"):
        fetch()


def test_the_lock_file_pins_one_version_of_kafka() -> None:
    pinned = jars.pinned()
    kafka = {
        jar.coordinate.rpartition(":")[2] for jar in pinned if jar.coordinate.startswith("org.apache.kafka:")
    }
    assert kafka == {jars.KAFKA.rpartition(":")[2]}
    names = [jar.coordinate.rpartition(":")[0] for jar in pinned]
    assert len(set(names)) == len(names)
    assert all(len(jar.sha256) == 64 and jar.size_bytes > 0 for jar in pinned)
