"""A witness as a process of its own, for tests."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3

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
