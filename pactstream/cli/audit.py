"""`pactstream audit bundle` and `pactstream audit verify`: what an agent did, for an auditor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from pactstream import clock
from pactstream.cli.output import counted, duration, printable
from pactstream.cli.trust import issuer_of
from pactstream.errors import Fatal, InvalidInput
from pactstream.fetch import fetch
from pactstream.ledger import bundle as bundles
from pactstream.ledger import files
from pactstream.ledger.bundle import About, Proved
from pactstream.ledger.log_keys import parse_keys
from pactstream.ledger.note import Checkpoint, parse_note
from pactstream.ledger.tile_reader import TileReader
from pactstream.ledger.tiles import CHECKPOINT, Missing
from pactstream.ledger.verification import KEYS, source
from pactstream.signing.jwks import parse_jwks
from pactstream.signing.keys import load_keys, note_verifier

if TYPE_CHECKING:
    from pactstream.clickhouse.client import ClickHouse
    from pactstream.control.tenants import Tenant

app = typer.Typer(
    no_args_is_help=True, help="Audit bundles: an agent's events with proofs, in one signed file."
)

_DEFAULT_URL = "http://127.0.0.1:8090"
_MAX_KEYS_BYTES = 1_000_000
_EVENTS = """
SELECT leaf_index, leaf FROM room_events
WHERE agent_id = {agent:UUID} AND log = {log:UInt16} AND leaf_index < {size:UInt64}
  AND sequence >= {first:UInt64}
ORDER BY sequence
"""
_FIRST = """
SELECT min(sequence), any(log) FROM room_events
WHERE agent_id = {agent:UUID} AND received_at >= fromUnixTimestamp64Micro({since:Int64})
"""
_PACTS = "SELECT toString(pact_id), version, document FROM pacts WHERE tenant_id = {tenant:String}"

Oracle = Annotated[
    str,
    typer.Option("--url", help="The oracle's address, or its published files.", envvar="PACTSTREAM_ORACLE_URL"),
]


@app.command()
def bundle(
    agent: Annotated[UUID, typer.Argument(help="The agent's id.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The file to be written.", dir_okay=False)],
    since: Annotated[str, typer.Option(help="How far back: 24h, 7d, 90d.")] = "7d",
    tenant: Annotated[UUID | None, typer.Option(help="Whose; needed where the agent has several.")] = None,
    url: Oracle = _DEFAULT_URL,
    deployment: Annotated[
        str, typer.Option(help="Who signs: as the oracle's reports.", envvar="PACTSTREAM_ISSUER")
    ] = "pactstream.local",
    key_dir: Annotated[
        Path, typer.Option(help="Directory of the signing keys.", envvar="PACTSTREAM_KEY_DIR")
    ] = Path("keys"),
) -> None:
    """Write what an agent did to a signed zip: events with proofs, pacts, the history of keys, a timeline.

    The operator runs it (PACTSTREAM_KAFKA_*, PACTSTREAM_CLICKHOUSE_*, and the report keys).
    """
    from pactstream import settings
    from pactstream.clickhouse.client import ClickHouse

    owner = _owner(str(agent), tenant)
    now = clock.now_micros()
    begins = now - int(duration(since).total_seconds()) * clock.MICROS_PER_SECOND
    key = next(one for one in load_keys(key_dir, "report") if one.algorithm == "Ed25519")
    with ClickHouse(settings.load(settings.ClickHouseSettings)) as database:
        first, log = database.rows(_FIRST, {"agent": str(agent), "since": begins})[0]
        note, reader = _published(url, log)
        small = {bundles.KEYS: _key_history(owner)}
        for pact_id, version, document in database.rows(_PACTS, {"tenant": owner.tenant_id}):
            small[bundles.pact_name(pact_id, version)] = document.encode()
        about = About(str(agent), owner.pseudonym, deployment, clock.to_iso(now), clock.to_iso(begins), note)
        parameters = {"agent": str(agent), "log": log, "size": reader.size, "first": first}
        made = bundles.write(
            out,
            about,
            _proved(database, parameters, reader),
            small,
            key.note_signer(bundles.note_name(deployment)),
        )
    typer.echo(f"{out}: {counted(made.events, 'event')}, {made.first_sequence} to {made.last_sequence}")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The bundle.", dir_okay=False, show_default=False)],
    url: Oracle = _DEFAULT_URL,
    issuer: Annotated[
        str | None, typer.Option(help="Who must have signed it; by default the oracle's host.")
    ] = None,
    jwks: Annotated[
        Path | None, typer.Option(help="File of the issuer's keys; by default those it publishes.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help="File of the logs' verifier keys; by default those published.")
    ] = None,
) -> None:
    """Check every byte of a bundle: signature, proofs, links, pacts, timeline. The base install is enough."""
    who = issuer_of(issuer, url)
    document = fetch(f"{url}/.well-known/jwks.json") if jwks is None else _read(jwks)
    try:
        public = parse_jwks(json.loads(document))
    except ValueError:
        raise InvalidInput("the issuer's key set is not JSON") from None
    try:
        logs = parse_keys(source(url)(KEYS) if keys is None else _read(keys))
    except Missing:
        raise Fatal(f"{url} publishes no ledger: {KEYS} is missing") from None
    signers = [
        note_verifier(one, bundles.note_name(who)) for one in public.values() if one.algorithm == "Ed25519"
    ]
    found = bundles.verify(file, issuer=who, signers=signers, logs=logs)
    typer.echo(printable(f"{file}: in order, made by {found.issuer} at {found.made_at}"))
    span = f"{found.first_sequence} to {found.last_sequence}"
    typer.echo(
        printable(f"agent {found.agent_id}: {counted(found.events, 'event')}, {span}, in {found.origin}")
    )


def _owner(agent_id: str, tenant: UUID | None) -> Tenant:
    from pactstream import settings
    from pactstream.control.tenants import TenantDirectory

    directory = TenantDirectory(settings.load(settings.KafkaSettings))
    try:
        directory.table.catch_up()
        owners = [one for one in directory.tenants_of(agent_id) if str(tenant) in ("None", one.tenant_id)]
    finally:
        directory.close()
    if len(owners) != 1:
        raise InvalidInput(f"{len(owners)} tenants have this agent: name one with --tenant")
    return owners[0]


def _key_history(tenant: Tenant) -> bytes:
    def moment(micros: int | None) -> str | None:
        return None if micros is None else clock.to_iso(micros)

    listed: list[dict[str, Any]] = [
        {
            "keyId": one.key_id,
            "label": one.label,
            "scopes": list(one.scopes),
            "createdAt": moment(one.created_at_micros),
            "expiresAt": moment(one.expires_at_micros),
            "revokedAt": moment(one.revoked_at_micros),
        }
        for one in sorted(tenant.keys.values(), key=lambda one: (one.created_at_micros, one.key_id))
    ]
    return json.dumps(listed, indent=1, ensure_ascii=False).encode() + b"\n"


def _published(url: str, log: int) -> tuple[bytes, TileReader]:
    fetch_file = source(url)
    try:
        note = fetch_file(f"ledger/{log}/{CHECKPOINT}")
        tree = Checkpoint.parse(parse_note(note).text)
        return note, TileReader(lambda path: fetch_file(f"ledger/{log}/{path}"), tree.size, tree.root)
    except Missing as error:
        raise Fatal(f"log {log} is not published at {url}: {error}") from None


def _proved(database: ClickHouse, parameters: dict[str, Any], reader: TileReader) -> Iterator[Proved]:
    with database.stream(_EVENTS, parameters) as rows:
        for index, leaf in rows:
            yield Proved(index, leaf.encode(), reader.inclusion_proof(index))


def _read(path: Path) -> bytes:
    data = files.read(path, _MAX_KEYS_BYTES)
    if data is None:
        raise Fatal(f"{path} is missing")
    return data
