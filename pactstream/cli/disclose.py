"""`pactstream disclose` and `pactstream verify disclosure`: one private value, for one counterparty."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from pactstream import clock
from pactstream.cli.output import duration, printable
from pactstream.cli.trust import issuer_of, published_keys
from pactstream.errors import Fatal, InvalidInput
from pactstream.ledger import disclosure, files
from pactstream.ledger.log_keys import LogKey, parse_keys
from pactstream.ledger.note import Checkpoint, parse_note
from pactstream.ledger.pins import PinBook
from pactstream.ledger.tile_reader import TileReader
from pactstream.ledger.tiles import CHECKPOINT, Missing
from pactstream.ledger.tlog_proof import TlogProof
from pactstream.ledger.verification import KEYS, source

_DEFAULT_URL = "http://127.0.0.1:8090"
_MAX_KEYS_BYTES = 1_000_000
_MAX_VALID_SECONDS = 86_400
_OPENING = """
SELECT log, leaf_index, hex(salt), value FROM room_event_payloads
WHERE event_id = {event:UUID} AND field = {field:String} LIMIT 2
"""
_FIELDS = "SELECT DISTINCT field FROM room_event_payloads WHERE event_id = {event:UUID} ORDER BY field"


def disclose(
    event: Annotated[str, typer.Argument(help="The event's id (UUID).")],
    field: Annotated[str, typer.Argument(help="The value's name in the leaf: params.amount, output, …")],
    to: Annotated[str, typer.Option(help="The counterparty it is for; stands in the file.")],
    url: Annotated[
        str,
        typer.Option(help="The oracle's address, or its published files.", envvar="PACTSTREAM_ORACLE_URL"),
    ] = _DEFAULT_URL,
    valid: Annotated[
        str, typer.Option(help="For how long the statement holds: 30m, 24h; at most a day.")
    ] = "24h",
    issuer: Annotated[
        str | None,
        typer.Option(help="Who signs: as the oracle's reports.", envvar="PACTSTREAM_ISSUER"),
    ] = None,
    deployment: Annotated[
        str, typer.Option(help="The issuer by default.", envvar="PACTSTREAM_DEPLOYMENT")
    ] = "pactstream.local",
    key_dir: Annotated[
        Path, typer.Option(help="Directory of the signing keys.", envvar="PACTSTREAM_KEY_DIR")
    ] = Path("keys"),
) -> None:
    """Print a file that proves one private value of one event, and nothing else of it, to one counterparty.

    The operator runs it, for the tenant whose value it is (PACTSTREAM_CLICKHOUSE_*, and the report keys).
    """
    from pactstream import settings
    from pactstream.clickhouse.client import ClickHouse
    from pactstream.signing.keys import load_keys

    seconds = int(duration(valid).total_seconds())
    if seconds > _MAX_VALID_SECONDS:
        raise Fatal("--valid is at most a day: verifiers refuse a signed statement that claims a longer life")
    event_id = _uuid(event)
    with ClickHouse(settings.load(settings.ClickHouseSettings)) as database:
        rows = database.rows(_OPENING, {"event": event_id, "field": field})
        if len(rows) != 1:
            known = ", ".join(name for (name,) in database.rows(_FIELDS, {"event": event_id})) or "none"
            raise InvalidInput(f"the event has no private value {field!r}; it has: {printable(known)}")
    log, index, salt, value = rows[0]
    opening = disclosure.Opening(field, bytes.fromhex(salt), value.encode())
    key = next(one for one in load_keys(key_dir, "report") if one.algorithm == "Ed25519")
    data = disclosure.make(
        _published_proof(url, log, index),
        opening,
        audience=to,
        issuer=issuer or deployment,
        key=key,
        valid_seconds=seconds,
    )
    typer.echo(data.decode(), nl=False)


def verify(
    file: Annotated[Path, typer.Argument(help="The disclosure.", dir_okay=False)],
    url: Annotated[
        str, typer.Option(help="The oracle's address.", envvar="PACTSTREAM_ORACLE_URL")
    ] = _DEFAULT_URL,
    audience: Annotated[str | None, typer.Option(help="For whom it must have been made.")] = None,
    issuer: Annotated[
        str | None, typer.Option(help="Who must have signed it; by default the oracle's host.")
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            help="File of the logs' verifier keys; by default those remembered, or published.", dir_okay=False
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Where `verify ledger` remembers.", file_okay=False, envvar="PACTSTREAM_VERIFY_STATE"
        ),
    ] = None,
) -> None:
    """Check a disclosure: that the ledger holds this value for this event, and for whom it was disclosed."""
    data = _read(file, disclosure.MAX_BYTES)
    origin = disclosure.origin_of(data)
    verifiers = _verifiers(origin, url, keys, state or Path(typer.get_app_dir("pactstream")) / "verified")
    found = disclosure.verify(
        data,
        published_keys(url),
        issuer=issuer_of(issuer, url),
        verifiers={origin: verifiers},
        now_micros=clock.now_micros(),
    )
    if audience is not None and found.audience != audience:
        raise InvalidInput(f"it was made for {printable(found.audience)!r}")
    leaf = found.leaf
    typer.echo(printable(f"{found.field} = {found.value}"))
    typer.echo(
        printable(
            f"event {leaf.event_id} ({leaf.tool or leaf.type}) of agent {leaf.agent_id}, {leaf.occurred_at}"
        )
    )
    typer.echo(f"in {found.checkpoint.origin}, proved by its checkpoint of {found.checkpoint.size} leaves")
    typer.echo(printable(f"disclosed by {found.issuer} to {found.audience}, valid until {found.expires_at}"))


def _published_proof(url: str, log: int, index: int) -> TlogProof:
    """The proof of a leaf from the published files; the leaf is its extra data."""
    fetch_file = source(url)
    try:
        note = fetch_file(f"ledger/{log}/{CHECKPOINT}")
        tree = Checkpoint.parse(parse_note(note).text)
        if index >= tree.size:
            raise Fatal(f"leaf {index} of log {log} is not published yet; try again in a moment")
        reader = TileReader(lambda path: fetch_file(f"ledger/{log}/{path}"), tree.size, tree.root)
        return TlogProof(index, tuple(reader.inclusion_proof(index)), note, reader.entry(index))
    except Missing as error:
        raise Fatal(f"log {log} is not published at {url}: {error}") from None


def _verifiers(origin: str, url: str, keys: Path | None, state: Path) -> list[LogKey]:
    if keys is not None:
        known = parse_keys(_read(keys, _MAX_KEYS_BYTES))
        return known.get(origin, [])
    if state.is_dir():
        with files.held(state):
            pin = PinBook(state).all().get(origin)
        if pin is not None:
            return pin.keys
    try:
        return parse_keys(source(url)(KEYS)).get(origin, [])
    except Missing:
        raise Fatal(f"{url} publishes no ledger: {KEYS} is missing") from None


def _read(path: Path, max_bytes: int) -> bytes:
    data = files.read(path, max_bytes)
    if data is None:
        raise Fatal(f"{path} is missing")
    return data


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise Fatal(f"{text!r} is not an event id (UUID)") from None
