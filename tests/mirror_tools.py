"""A mirror of the tests' own oracle, in this process or as a process of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream.ledger.cosignature import Cosigner
from pactstream.ledger.log_keys import LogKey
from pactstream.ledger.tile_store import TileDirectory
from pactstream.mirror.log import LogMirror
from pactstream.mirror.mirror import LedgerMirror
from pactstream.trust.oracle import Oracle
from tests.published_ledger import signer_of
from tests.stack import eventually
from tests.trust_oracle import ISSUER, TestOracle

PAGE = Path(__file__).parents[1] / "docs" / "mirror.md"
NAME = "mirror.example/m"
COSIGNER = Cosigner(NAME, Ed25519PrivateKey.from_private_bytes(b"m" * 32))
ORIGIN = signer_of(0).name
KEYS = {ORIGIN: [LogKey(signer_of(0).verifier)]}
PROGRAM = (sys.executable, "-c", "from pactstream.cli import main; main()", "mirror")


def log_mirror(client: Oracle, directory: Path, store: TileDirectory | None = None) -> LogMirror:
    """A mirror of log 0 with its files in `directory`."""
    fetch = client.log_files(ORIGIN)
    return LogMirror(ORIGIN, KEYS[ORIGIN], fetch, store or TileDirectory(directory), COSIGNER)


def ledger_mirror(client: Oracle, directory: Path) -> LedgerMirror:
    """All that `KEYS` names, in `directory`."""
    return LedgerMirror.of(client, KEYS, directory, COSIGNER)


def prepare(oracle: TestOracle, directory: Path) -> str:
    """What `docs/mirror.md` does before it serves: keys, and what is pinned; the mirror's verifier key."""
    oracle.files[".well-known/jwks.json"] = json.dumps(oracle.jwks).encode()
    *commands, _ = commands_of_the_page()
    done = subprocess.run(
        ["bash", "-euc", "\n".join(commands)],
        cwd=directory,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "ORACLE": oracle.url},
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout.strip()


@contextmanager
def mirror_process(oracle: TestOracle, directory: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """What `docs/mirror.md` serves with, in the `directory` that was prepared; killed on leaving."""
    *_, serve = commands_of_the_page()
    _, _, *words = shlex.split(serve.replace("$ORACLE", oracle.url).replace("pactstream.example", ISSUER))
    words[words.index("--port") + 1] = str(port)
    with (directory / "log.txt").open("ab") as log:
        process = subprocess.Popen([*PROGRAM, *words, "--interval", "0.05"], cwd=directory, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def commands_of_the_page() -> list[str]:
    """The commands of the page's first block, one each."""
    block = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.S)[0]
    return str(block).replace("\\\n", "").splitlines()


def status(url: str) -> dict[str, Any]:
    """What the mirror says of log 0; empty while it does not answer."""
    try:
        answer = urllib3.request("GET", f"{url}/status", retries=False, timeout=5)
    except urllib3.exceptions.HTTPError:
        return {}
    found: dict[str, Any] = answer.json()["logs"][0]
    return found


def mirrored(url: str, size: int) -> None:
    """Wait until the mirror has so many leaves."""
    eventually(lambda: status(url).get("size") == size, 30)
