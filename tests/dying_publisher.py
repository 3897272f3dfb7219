"""The sealer's publishing loop, which kills itself at one durable step.

FATE: `lost`, the write never happens; `persisted`, it does and nothing after it; `halved`, half of the files
are there. Settings come from the environment; a group of its own spares waiting for the last one's session.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event
from typing import Any

from confluent_kafka import Consumer

from ledger_sealer import publisher, wiring
from ledger_sealer.key_list import KeyList
from ledger_sealer.settings import SealerSettings
from pactstream import settings
from pactstream.clickhouse.client import ClickHouse
from pactstream.ledger.tile_store import TileDirectory
from pactstream.ledger.tiles import Published
from pactstream.ledger.witness_client import Cosigners

STEPS = ("keys", "full tiles", "partial tiles", "cosignatures", "checkpoint", "pruning", "offset")
DIED = 9


def dying(function: Callable[..., Any], fate: str) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if fate == "lost":
            os._exit(DIED)
        function(*args, **kwargs)
        os._exit(DIED)

    return run


def dying_put(kind: str, fate: str) -> Callable[[TileDirectory, Iterable[Published]], None]:
    put = TileDirectory.put

    def run(store: TileDirectory, files: Iterable[Published]) -> None:
        files = list(files)
        if files and kind == ("partial tiles" if any(".p/" in one.path for one in files) else "full tiles"):
            if fate != "lost":
                put(store, files[: len(files) // 2] if fate == "halved" else files)
            os._exit(DIED)
        put(store, files)

    return run


def arrange(step: str, fate: str) -> None:
    """Have the step kill this process."""
    places: dict[str, tuple[Any, str]] = {
        "keys": (KeyList, "publish"),
        "cosignatures": (Cosigners, "cosign"),
        "checkpoint": (TileDirectory, "replace_checkpoint"),
        "pruning": (TileDirectory, "prune"),
    }
    if step in places:
        where, name = places[step]
        setattr(where, name, dying(getattr(where, name), fate))
    elif step == "offset":
        members = {"commit": dying(Consumer.commit, fate)}
        setattr(publisher, "Consumer", type("DyingConsumer", (Consumer,), members))  # noqa: B010
    else:
        setattr(TileDirectory, "put", dying_put(step, fate))  # noqa: B010


def main(step: str, fate: str) -> None:
    """Publish until the step is reached."""
    publisher.GROUP = f"dying-{uuid.uuid4().hex}"
    arrange(step, fate)
    ours = settings.load(SealerSettings)
    with ClickHouse(ours) as database:
        wiring.build_publisher(ours, ours.ledger_key(), database, ours.tiles_dir or Path()).run(Event())
