"""A sidecar in this process: its real application, buffer and forwarder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx

from pactstream.journal.journal import Journal
from pactstream.sdk.config import Secret
from pactstream.sdk.transport import Transport
from pactstream.sidecar.app import Door, create_app
from pactstream.sidecar.forwarder import Forwarder
from pactstream.sidecar.store import Store
from tests.asgi import ask
from tests.gateway_tools import EVENTS

TOKEN = "a-token-of-this-machine"
MIB = 1 << 20


@dataclass
class Sidecar:
    """All of it but the process."""

    store: Store
    app: Any
    delivered: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, method: str, path: str, content: Any = None, **headers: str) -> httpx.Response:
        sent = {"Content-Type": "application/json", "X-Pact-Key": TOKEN} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        given = content if isinstance(content, bytes) else json.dumps(content).encode()
        return ask(self.app, path, method, content=given, headers=sent)

    def send(self, *events: dict[str, Any]) -> httpx.Response:
        return self.ask("POST", EVENTS, {"events": events})

    def sent(self) -> bool:
        """Whether nothing waits."""
        return self.store.fill().batches == 0


@contextmanager
def running(
    directory: Path,
    url: str,
    key: str,
    *,
    retry_seconds: float = 60,
    max_bytes: int = 8 * MIB,
    journal: Journal | None = None,
) -> Iterator[Sidecar]:
    """One that sends to `url` while the block runs, with pauses short enough for tests."""
    store = Store(directory, max_bytes)
    transport = Transport(url, Secret(key))
    stop = Event()
    forwarder = Forwarder(store, transport, retry_seconds, journal=journal, most_seconds=0.02)
    thread = Thread(target=forwarder.run, args=(stop,))
    thread.start()
    try:
        yield Sidecar(store, create_app(store, transport, Door(TOKEN), MIB))
    finally:
        stop.set()
        store.wake()
        thread.join()
        store.close()
        transport.close()
