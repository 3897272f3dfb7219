"""A witness for tests: as a process of its own, or as a server in a thread of this one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import urllib3

from pactstream.ledger.witness import Witness
from tests.http_servers import serving

_DEADLINE_SECONDS = 30.0
_PROGRAM = (sys.executable, "-c", "from pactstream.cli import main; main()", "witness")


def witness_key(directory: Path, name: str) -> str:
    """The verifier key of the witness whose keys are in `directory`."""
    command = [*_PROGRAM, "key", name]
    return subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, check=True, text=True).stdout.strip()


@contextmanager
def witness_process(directory: Path, name: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A witness of the logs in `directory/logs`, with its keys and state beside; killed on leaving."""
    options = {"--dir": "keys", "--logs": "logs", "--state": "state", "--port": str(port)}
    process = subprocess.Popen(
        [*_PROGRAM, "serve", name, *(part for option in options.items() for part in option)],
        cwd=directory,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while not _answers(port):
            assert process.poll() is None, "the witness stopped"
            assert time.monotonic() < deadline, "the witness does not answer"
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/healthz", retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


class WitnessMemory(dict[str, bytes]):
    """A witness's store that ends with the test."""

    def put(self, origin_hash: str, cosigned: bytes) -> None:
        self[origin_hash] = cosigned


@contextmanager
def witness_thread(witness: Witness) -> Iterator[str]:
    """Serve a witness from this process; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = witness.add_checkpoint(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield address
