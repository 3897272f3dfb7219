"""`pactstream dlq …`: records that could not be processed: list, look at, send back, set aside."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from pactstream.cli import output
from pactstream.errors import Fatal, InvalidInput

if TYPE_CHECKING:
    from pactstream.kafka.letters import Letter, Position
    from pactstream.settings import KafkaSettings

app = typer.Typer(
    no_args_is_help=True,
    help="Dead letters: what could not be processed, and why. Reads the PACTSTREAM_KAFKA_* settings.",
)

BATCHES = "telemetry.batches"
_MAX_HEX_BYTES = 4_096
_POSITION = re.compile(r"([0-9]{1,9}):([0-9]{1,18})", re.ASCII)

Topic = Annotated[str, typer.Argument(help="The topic whose records they were.")]
At = Annotated[
    list[str] | None,
    typer.Option("--at", help="A letter's position as `list` shows it, such as 0:12; repeatable."),
]
Every = Annotated[bool, typer.Option("--all", help="All that are open.")]


@app.command("list")
def list_letters(
    topic: Annotated[
        str | None, typer.Argument(help="The topic whose records they were; by default every topic.")
    ] = None,
    handled: Annotated[
        bool, typer.Option("--handled", help="Also those that were replayed or discarded.")
    ] = False,
) -> None:
    """List the dead letters that are open: where each came from, whose it is, what was wrong."""
    from pactstream.kafka import dlq

    settings = _settings()
    table = output.table("topic", "at", "age", "state", "tenant", "source", "event", "bytes", "error")
    shown = 0
    for name in [topic] if topic else dlq.queues():
        for letter in dlq.read(settings, name):
            if handled or letter.state == "open":
                output.row(table, name, *_cells(letter))
                shown += 1
    if shown:
        output.show(table)
    else:
        typer.echo("no dead letters")


@app.command()
def show(topic: Topic = BATCHES, at: At = None, every: Every = False) -> None:
    """Print letters whole: Avro as JSON, what cannot be decoded in hexadecimal. Values are private."""
    from pactstream.kafka import dlq

    settings = _settings()
    positions = _positions(at, every)
    letters = {letter.position: letter for letter in dlq.read(settings, topic)}
    missing = sorted(set(positions or ()) - letters.keys())
    if missing:
        raise Fatal(f"there is no dead letter at {missing[0]}")
    opened = [one.position for one in letters.values() if one.state == "open"]
    chosen = [letters[one] for one in (opened if positions is None else positions)]
    typer.echo("The values below are private to their tenant: do not pass them on.", err=True)
    for letter, value in dlq.values(settings, topic, chosen):
        typer.echo(output.printable(_document(topic, letter, value)))


@app.command()
def replay(topic: Topic = BATCHES, at: At = None, every: Every = False) -> None:
    """Send letters back to their topic, once each, to be processed as if they had just arrived.

    Mend first what refused them, or they come back. Events keep their ids: none is judged twice.
    """
    _settle(topic, at, every, "replayed")


@app.command()
def discard(topic: Topic = BATCHES, at: At = None, every: Every = False) -> None:
    """Set letters aside: `list` no longer shows them. They stay until retention removes them."""
    _settle(topic, at, every, "discarded")


def _settle(topic: str, at: list[str] | None, every: bool, state: Literal["replayed", "discarded"]) -> None:
    from pactstream.kafka import dlq

    done = dlq.settle(_settings(), topic, _positions(at, every), state)
    for letter in done:
        typer.echo(f"{topic} {letter.position}: {state}")
    typer.echo(f"{output.counted(len(done), 'letter')} {state}")


def _settings() -> KafkaSettings:
    from pactstream import settings

    return settings.load(settings.KafkaSettings)


def _positions(at: list[str] | None, every: bool) -> list[Position] | None:
    """The positions asked for; None for all that are open."""
    from pactstream.kafka.letters import Position

    if every == bool(at):
        raise Fatal("say which: --at POSITION (as `pactstream dlq list` shows it), or --all")
    if every:
        return None
    found = [_POSITION.fullmatch(text) for text in at or ()]
    for text, match in zip(at or (), found, strict=True):
        if match is None:
            raise Fatal(f"{output.printable(text)!r} is not a position such as 0:12")
    return [Position(int(match[1]), int(match[2])) for match in found if match]


def _cells(letter: Letter) -> tuple[object, ...]:
    size = letter.value_bytes if letter.omitted_bytes is None else f"{letter.omitted_bytes} (not kept)"
    index = "-" if letter.event_index is None else letter.event_index
    error = " ".join(f"{letter.error_class}: {letter.error_message}".split())
    return (
        letter.position,
        output.age(letter.written_at_micros),
        letter.state,
        letter.tenant or "-",
        f"{letter.source_topic}[{letter.source.partition}]@{letter.source.offset}",
        index,
        size,
        error,
    )


def _document(topic: str, letter: Letter, value: bytes | None) -> str:
    from pactstream import clock

    document: dict[str, Any] = {
        "topic": topic,
        "at": str(letter.position),
        "state": letter.state,
        "writtenAt": clock.to_iso(letter.written_at_micros),
        "error": {"class": letter.error_class, "message": letter.error_message},
        "source": {
            "topic": letter.source_topic,
            "partition": letter.source.partition,
            "offset": letter.source.offset,
            "eventIndex": letter.event_index,
        },
        "tenant": letter.tenant,
        "refusedBy": letter.group,
        "key": None if letter.key is None else _text_or_hex(letter.key),
        "headers": {name: _text_or_hex(value or b"") for name, value in letter.source_headers},
    }
    if letter.omitted_bytes is not None:
        document["omittedBytes"] = letter.omitted_bytes
    else:
        document |= _readable(value)
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def _readable(value: bytes | None) -> dict[str, Any]:
    from pactstream import avro

    try:
        name, record = avro.decode(value)
    except (InvalidInput, Fatal) as error:
        return {"undecodable": str(error), "hex": None if value is None else _hex(value)}
    return {name: _plain(record)}


def _plain(value: Any) -> Any:
    """A decoded record: bytes that are JSON as they stand, which keeps every digit, others in hexadecimal."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if not isinstance(value, bytes):
        return value
    try:
        msgspec.json.decode(value)
        value.decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {"hex": _hex(value)}
    return msgspec.Raw(value)


def _text_or_hex(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeError:
        return _hex(value)


def _hex(value: bytes) -> str:
    more = len(value) - _MAX_HEX_BYTES
    return value[:_MAX_HEX_BYTES].hex() + (f"… and {more} more bytes" if more > 0 else "")
