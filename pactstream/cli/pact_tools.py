"""`pactstream pact test`, `diff` and `replay`: looking at a version of a pact before it is put in force."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from rich.console import Console

from pactstream import clock
from pactstream.cli import output
from pactstream.errors import Fatal
from pactstream.pacts import Pact, PactError, compile_pact, parse_pact
from pactstream.review import diff as differ
from pactstream.review import trial

if TYPE_CHECKING:
    from pactstream.review.replay import Choice, Comparison

PactFile = Annotated[Path, typer.Argument(help="A pact as JSON.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `pactstream pact`."""
    app.command()(test)
    app.command()(diff)
    app.command()(replay)


def test(
    pact: PactFile,
    events: Annotated[
        Path,
        typer.Option(
            help='JSON lines or an array: wire events, or {"tool": …, "params": {…}}; each may have "expect".'
        ),
    ],
) -> None:
    """Judge the calls in a file; exit code 1 if one violates the pact or is not judged as it expects.

    "expect" is "valid", "violated", "unbound" or a severity, or an object with any of valid, bound, severity
    and violations (a list of {"paramPath", "rule"}). A violation that is expected is in order.
    """
    compiled = compile_pact(read_pact(pact), pact_id="local", version=1)
    try:
        calls, others = trial.read_calls(_read(events), now_micros=clock.now_micros())
    except Fatal as error:
        raise Fatal(f"{events}: {error}") from None
    table = output.table("call", "tool", "verdict", "why")
    bad = violated = 0
    for one in trial.run(compiled, calls):
        bad += not one.in_order
        violated += not one.verdict.valid
        why = [*one.surprises, *(violation.message for violation in one.verdict.violations)]
        style = "" if one.in_order else "red"
        output.row(
            table, one.tried.place, one.tried.call.tool, trial.outcome(one.verdict), "\n".join(why), style=style
        )
    output.show(table)
    skipped = f", {output.counted(others, 'other event')} left out" if others else ""
    typer.echo(f"{output.counted(len(calls), 'call')}, {violated} violated, {bad} not in order{skipped}")
    if bad:
        raise typer.Exit(1)


def diff(old: PactFile, new: PactFile) -> None:
    """Show what differs in meaning from OLD to NEW, and whether NEW is stricter; exit code 1 if anything does.

    Order, spelling, names and descriptions mean nothing. "differs": stricter for some calls and looser for
    others, or not to be decided.
    """
    first, second = read_pact(old), read_pact(new)
    found = differ.differences(first, second)
    if not found:
        same = "the same document" if first.hash == second.hash else "the same demands, in other words"
        typer.echo(f"no difference: {same}")
        return
    table = output.table("tool", "where", "rule", "", "what", "which way")
    signs = {"added": "+", "removed": "−", "changed": "~"}
    for one in found:
        cells = (one.tool or "(pact)", one.place or "-", one.rule, signs[one.kind], one.text)
        output.row(table, *cells, one.direction or "no verdict")
    output.show(table)
    ways = {way: sum(one.direction == way for one in found) for way in ("stricter", "looser", "differs")}
    parts = [f"{number} {way}" for way, number in ways.items() if number]
    typer.echo(
        output.counted(len(found), "difference") + (f": {', '.join(parts)}" if parts else ", none in a verdict")
    )
    raise typer.Exit(1)


def replay(
    pact: PactFile,
    since: Annotated[str, typer.Option(help="How far back, such as 30m, 24h or 7d.")] = "24h",
    agent: Annotated[
        str | None, typer.Option(help="Whose calls (UUID); by default those of the pact's agentId.")
    ] = None,
    pact_id: Annotated[
        str | None, typer.Option(help="Only calls under this pact (UUID); needed where an agent has several.")
    ] = None,
) -> None:
    """Judge recorded calls again under a new version; exit code 1 if a call that was valid would be violated.

    Reads telemetry.batches and the versions in force then from Kafka (PACTSTREAM_KAFKA_*); changes nothing.
    Kafka keeps batches for seven days.
    """
    from pactstream.review.replay import Choice

    document = read_pact(pact)
    since_micros = clock.now_micros() - int(output.duration(since).total_seconds()) * clock.MICROS_PER_SECOND
    choice = Choice(_agent(document, agent, pact_id), _uuid("a pact id", pact_id), since_micros)
    found = _replayed(document, choice)
    if not found.calls:
        whose = f"agent {choice.agent_id}" if choice.agent_id else f"pact {choice.pact_id}"
        raise Fatal(f"no call of {whose} under a pact was recorded in the last {since}")
    _report(found, since)
    if found.count(was_valid=True, is_valid=False):
        raise typer.Exit(1)


def read_pact(file: Path) -> Pact:
    """The pact in a file.

    Raises:
        Fatal: it cannot be read or is none: in one line, with the first fault.
    """
    try:
        return parse_pact(_read(file))
    except PactError as error:
        raise Fatal(f"{file}: {error}") from None


def _read(file: Path) -> bytes:
    try:
        if file.stat().st_size > trial.MAX_FILE_BYTES:
            raise Fatal(f"{file} has more than {trial.MAX_FILE_BYTES} bytes")
        return file.read_bytes()
    except OSError as error:
        raise Fatal(f"cannot read {file}: {error.strerror}") from None


def _agent(document: Pact, agent: str | None, pact_id: str | None) -> str | None:
    asked = _uuid("an agent id", agent)
    of_pact = None if document.agent_id is None else str(UUID(document.agent_id))
    if asked and of_pact and asked != of_pact:
        raise Fatal(f"the pact is for agent {of_pact}, not for {asked}")
    if asked is None and of_pact is None and pact_id is None:
        raise Fatal("the pact names no agent: say whose calls with --agent or --pact-id")
    return asked or of_pact


def _uuid(what: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return str(UUID(text))
    except ValueError:
        raise Fatal(f"{output.printable(text)!r} is not {what} (UUID)") from None


def _replayed(document: Pact, choice: Choice) -> Comparison:
    from pactstream import settings
    from pactstream.control.pacts import PactBook
    from pactstream.errors import InvalidInput
    from pactstream.kafka import topics
    from pactstream.kafka.scan import offsets_since, scan
    from pactstream.pacts import CompiledPact
    from pactstream.review.replay import compare, lead_micros

    ours = settings.load(settings.KafkaSettings)
    starts = offsets_since(ours, topics.BATCHES, choice.since_micros - lead_micros(document))
    book = PactBook(ours)

    def stamped(pact_id: str, version: int) -> CompiledPact | None:
        try:
            return book.compiled(pact_id, version)
        except InvalidInput:
            return None  # written by a newer release

    def batches() -> Iterator[bytes | None]:
        # The key is the agent: what is another's need not be decoded.
        key = None if choice.agent_id is None else choice.agent_id.encode()
        with Console(stderr=True).status("reading") as status:
            for number, (record, written_at_micros) in enumerate(scan(ours, topics.BATCHES, starts), 1):
                if number % 1_000 == 0:
                    status.update(f"{number} records read, up to {clock.to_iso(written_at_micros)}")
                if key is None or record.key == key:
                    yield record.value

    try:
        book.table.catch_up()
        new = compile_pact(document, pact_id="replay", version=1)
        return compare(batches(), new, stamped, choice)
    finally:
        book.close()


def _report(found: Comparison, since: str) -> None:
    versions = ", ".join(str(one) for one in sorted(found.versions)) or "none"
    calls = output.counted(found.calls, "call")
    typer.echo(f"{calls} under pact {found.pact_id}, version {versions}, in the last {since}")
    table = output.table("calls", "then", "now")
    for (before, after), number in sorted(found.verdicts.items(), key=lambda item: -item[1]):
        output.row(table, number, before, after, style="" if before == after else "bold")
    output.show(table)
    moved = {rule: sides for rule, sides in sorted(found.rules.items()) if sides[0] != sides[1]}
    if moved:
        table = output.table("tool", "path", "rule", "violations then", "now")
        for (tool, path, rule), sides in moved.items():
            output.row(table, tool, path or "-", rule, *sides)
        typer.echo()
        output.show(table)
    if found.changed:
        table = output.table("event", "at", "tool", "then", "now", "because of")
        for one in found.changed:
            at = clock.to_iso(one.occurred_at_micros)
            output.row(table, one.event_id, at, one.tool, one.before, one.after, ", ".join(one.rules))
        typer.echo()
        output.show(table)
    worse = found.count(was_valid=True, is_valid=False)
    better = found.count(was_valid=False, is_valid=True)
    typer.echo(f"\nvalid then, violated now: {worse}; violated then, valid now: {better}")
