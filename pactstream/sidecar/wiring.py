"""Puts the sidecar's parts together, and refuses what would be careless."""

from __future__ import annotations

import logging
from threading import Event, Thread
from typing import Final

from pactstream import server
from pactstream.errors import Fatal
from pactstream.journal.journal import Journal
from pactstream.ledger import files
from pactstream.sdk.config import Secret, checked_url, is_loopback
from pactstream.sdk.transport import Transport
from pactstream.sidecar.app import Door, create_app
from pactstream.sidecar.forwarder import REQUEST_SECONDS, Forwarder
from pactstream.sidecar.settings import SidecarSettings
from pactstream.sidecar.store import Store

_MIN_TOKEN_CHARS: Final = 16
_log = logging.getLogger(__name__)


def run(settings: SidecarSettings) -> int:
    """Serve until SIGTERM or SIGINT, then let the request under way to the gateway end; the exit code.

    Raises:
        Fatal: settings that do not fit together, a directory or port that another process has, a damaged file,
            a journal that cannot be written.
    """
    door, transport, journal = build_door(settings), build_transport(settings), build_journal(settings)
    stop = Event()
    with files.held(settings.sidecar_dir):
        store = Store(settings.sidecar_dir, settings.sidecar_max_bytes)
        fill = store.fill()
        _log.info("%d batches wait, %d dead letters", fill.batches, fill.letters)
        forwarder = Forwarder(store, transport, settings.sidecar_retry_seconds, journal=journal)
        sending = Thread(target=forwarder.run, args=(stop,), name="sidecar forwarder")
        sending.start()
        try:
            app = create_app(store, transport, door, settings.sidecar_max_body_bytes)
            return server.serve(
                app,
                settings.sidecar_host,
                settings.sidecar_port,
                max_connections=settings.sidecar_connections,
            )
        finally:
            stop.set()
            store.wake()
            # What it does not finish is on disk.
            sending.join(REQUEST_SECONDS + 1)
            store.close()
            transport.close()


def build_door(settings: SidecarSettings) -> Door:
    """Who may send. Raises Fatal: nobody was chosen, or strangers could."""
    token = settings.sidecar_token.get_secret_value()
    # An SDK presents it as its API key, and takes nothing else as one.
    usable = token.isascii() and token.isprintable() and " " not in token
    if token and not (usable and len(token) >= _MIN_TOKEN_CHARS):
        raise Fatal(
            f"PACTSTREAM_SIDECAR_TOKEN must have {_MIN_TOKEN_CHARS} characters or more, ASCII, no spaces"
        )
    if not token and not settings.sidecar_open:
        raise Fatal("set PACTSTREAM_SIDECAR_TOKEN, or pass --open where every local program may send as you")
    if token and settings.sidecar_open:
        raise Fatal("a token and --open contradict each other: choose one")
    if not is_loopback(settings.sidecar_host):
        if not settings.sidecar_exposed:
            raise Fatal(
                f"{settings.sidecar_host} is not loopback: others could send as you; "
                "PACTSTREAM_SIDECAR_EXPOSED=1 if that is meant"
            )
        if not token:
            raise Fatal("an address other than loopback needs PACTSTREAM_SIDECAR_TOKEN")
    return Door(token)


def build_journal(settings: SidecarSettings) -> Journal | None:
    """Where what was acknowledged is noted, if anywhere. Raises Fatal: it cannot be written."""
    if settings.sidecar_journal is None:
        return None
    try:
        return Journal(settings.sidecar_journal, settings.sidecar_journal_max_bytes)
    except files.StorageFailed as error:
        raise Fatal(f"PACTSTREAM_SIDECAR_JOURNAL: {error}") from None


def build_transport(settings: SidecarSettings) -> Transport:
    """The way to the gateway. Raises Fatal: no key, or an address to which it must not be shown."""
    ca = settings.sidecar_gateway_ca
    try:
        key = Secret(settings.api_key.get_secret_value())
    except ValueError as error:
        raise Fatal(f"PACTSTREAM_API_KEY: {error}") from None
    try:
        url = checked_url(settings.gateway_url, allow_insecure=settings.sidecar_allow_insecure)
    except ValueError as error:
        raise Fatal(f"the gateway's address: {error}") from None
    return Transport(url, key, None if ca is None else str(ca))
