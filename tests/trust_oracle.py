"""An oracle of the tests' own: serves what it is given over HTTP, the honest and the dishonest alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

from oracle_api.reports import Signer
from oracle_api.standing import Standing
from oracle_api.state import AgentState, Checkpoint, Head
from pactstream import clock
from pactstream.ledger import merkle
from pactstream.ledger.tile_reader import TileReader
from pactstream.signing.jwks import jwks_document
from pactstream.signing.keys import SigningKey, create_keys
from tests import http_servers
from tests.oracle_states import SCORE, violating
from tests.published_ledger import AGENTS, Published, leaves

ISSUER = "oracle.example"
AGENT = UUID(AGENTS[0])
"""Emits each third leaf of the test ledger, from the first on."""
ENTRIES = leaves(600)


@dataclass
class TestOracle:
    """Files by path; a status that is not 200 is answered to everything."""

    __test__ = False

    keys: tuple[SigningKey, ...]
    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    asked: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def jwks(self) -> dict[str, Any]:
        return jwks_document([key.public for key in self.keys])

    def show(self, log: Published, *, standing: Standing = "active", **changes: Any) -> None:
        """Publish the log, and a report of `AGENT` as of its checkpoint; `changes` are to the state."""
        self.files |= log.files
        self.sign(replace(state_of(log), **changes), standing)

    def sign(self, state: AgentState, standing: Standing = "active", *, now_micros: int | None = None) -> None:
        now = clock.now_micros() if now_micros is None else now_micros
        signer = Signer(self.keys, ISSUER, "dev", 300, lambda: now)
        self.files[f"api/v1/trust/{AGENT}"] = signer.sign(state, standing).json.body


def state_of(log: Published) -> AgentState:
    """What an honest oracle knows of `AGENT` under the log's checkpoint."""
    checkpoint = log.checkpoint
    index = (checkpoint.size - 1) // 3 * 3
    reader = TileReader(log.log_fetch, checkpoint.size, checkpoint.root)
    return AgentState(
        str(AGENT),
        replace(SCORE, through_sequence=index // 3 + 1),
        Head(log.log, index, index // 3 + 1, merkle.leaf_hash(reader.entry(index)).hex(), clock.now_micros()),
        Checkpoint(log.log, checkpoint.size, log.note.decode(), clock.now_micros()),
        (violating(20),),
        tuple(one.hex() for one in reader.inclusion_proof(index)),
    )


@contextmanager
def serving(tmp_path: Path) -> Iterator[TestOracle]:
    """The oracle on a port of its own."""
    oracle = TestOracle(create_keys(tmp_path / "issuer", "report"))

    with http_servers.serving(ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, oracle))) as address:
        oracle.url = address
        yield oracle


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, oracle: TestOracle, *args: Any) -> None:
        self._oracle = oracle
        super().__init__(*args)

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self._oracle.asked.append(path)
        data = self._oracle.files.get(path)
        status = self._oracle.status if self._oracle.status != 200 or data is not None else 404
        body = data if data is not None and status == 200 else b"{}"
        self.send_response(status)
        if status in (301, 302):
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
