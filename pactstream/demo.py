"""The demo: the whole pipeline on this machine, Atlas through it, and every promised figure checked.

Nothing is taken from inside the services: events go in over HTTP, and what comes out is checked from what is
published, with public keys only.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from queue import Empty
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from pactstream import Telemetry, atlas, clock, ids
from pactstream.devstack import ports, sink
from pactstream.devstack.onboarding import Onboarding
from pactstream.devstack.reporter import Terminal
from pactstream.devstack.services import ANOMALIES, CONSOLE, DEPLOYMENT, PAGING, SERVICES, Services
from pactstream.devstack.sink import Sink
from pactstream.devstack.stack import Stack
from pactstream.errors import Fatal, InvalidInput
from pactstream.fetch import fetch
from pactstream.ledger import files
from pactstream.ledger.log_keys import parse_keys
from pactstream.ledger.note import Checkpoint, parse_note
from pactstream.ledger.pins import PinBook
from pactstream.ledger.published import Result
from pactstream.ledger.tiles import CHECKPOINT, Missing
from pactstream.ledger.verification import KEYS, LEDGER, Verification, source
from pactstream.signing.report import verify_report

EVENTS = 40
PAGES = 3
"""What Atlas's violation breaks: each rule opens a page, and each page is an event of its own."""
LEAVES = EVENTS + PAGES
RESPONDER = ("trust:private", "pacts:read", "pacts:write", "pages:act", "pages:admin")
_RUNNING = (*SERVICES, PAGING, CONSOLE, *ANOMALIES)
_REFLECTED_SECONDS = 30.0
_POLL_SECONDS = 0.1
_MARKER = ".pactstream-demo"
_BAR = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())


@dataclass(frozen=True, slots=True)
class Figure:
    """One promise of the demo: what was found, and whether it is what it must be."""

    name: str
    found: str
    right: bool


@dataclass(frozen=True, slots=True)
class Demo:
    """One run of the demo; everything it makes is below `data_dir`, which it begins by emptying."""

    data_dir: Path
    gateway_port: int
    oracle_port: int
    console_port: int
    seed: int
    console: Console

    def run(self, *, once: bool) -> None:
        """Start everything, run Atlas, show the figures; stay up until Ctrl-C unless `once`.

        Raises:
            Fatal: something does not start; the message says what to do.
            InvalidInput: a figure is not what it must be.
        """
        ports.check_free(
            {
                "the gateway, --gateway-port": self.gateway_port,
                "the oracle, --oracle-port": self.oracle_port,
                "the console, --console-port": self.console_port,
            }
        )
        empty(self.data_dir)
        with Stack(self.data_dir, reporter=Terminal(self.console)) as stack, sink.receiving() as team:
            services = self._start_services(stack)
            agent_key, responder = self._run_atlas(services, team)
            pages = paged(team)
            figures = [*check(services), _paged_figure(pages)]
            self._show(figures)
            wrong = [one.name for one in figures if not one.right]
            if wrong:
                raise InvalidInput(f"not as promised: {', '.join(wrong)} (logs: {self.data_dir})")
            show_page(pages)
            if not once:
                self._stay(services, agent_key, responder, pages)

    def _start_services(self, stack: Stack) -> Services:
        services = Services(
            supervisor=stack.supervisor,
            data_dir=self.data_dir,
            kafka_bootstrap=stack.kafka_bootstrap,
            clickhouse_host=stack.clickhouse_host,
            clickhouse_port=stack.clickhouse_port,
            gateway_port=self.gateway_port,
            oracle_port=self.oracle_port,
            console_port=self.console_port,
        )
        with Progress(*_BAR, console=self.console) as progress:
            task = progress.add_task("Starting the services", total=len(_RUNNING))
            services.prepare()
            services.start(_RUNNING, on_ready=lambda _: progress.advance(task))
        return services

    def _run_atlas(self, services: Services, team: Sink) -> tuple[str, str]:
        """Send Atlas's day and wait for all that comes of it; the keys of Atlas and of who is on call."""
        onboarding = Onboarding(services.gateway_url, services.admin_key)
        document = json.loads(atlas.pact_document())
        api_key = onboarding.register(atlas.AGENT_ID, "Atlas", pact_id=atlas.PACT_ID, document=document)
        responder = onboarding.issue("on call", RESPONDER)
        route = {"kind": "webhook", "name": "the demo's team", "url": team.url}
        where = f"{services.gateway_url}/api/v1/paging/routes/{ids.uuid7()}"
        fetch(where, "PUT", body=route, headers={"X-Pact-Key": responder})
        with (
            Progress(*_BAR, console=self.console) as progress,
            Telemetry(api_key=api_key, base_url=services.gateway_url, agent_id=atlas.AGENT_ID) as telemetry,
        ):
            task = progress.add_task("Atlas's events, reflected", total=LEAVES)
            atlas.run(telemetry, self.seed)
            telemetry.flush(_REFLECTED_SECONDS)
            if telemetry.stats().accepted != EVENTS:
                raise Fatal(f"the gateway did not take Atlas's events: {telemetry.stats()}")
            for reflected in reflections(services, LEAVES):
                progress.update(task, completed=reflected)
            task = progress.add_task("Atlas's events, published", total=LEAVES)
            for published in publications(services, LEAVES):
                progress.update(task, completed=published)
        return api_key, responder

    def _show(self, figures: list[Figure]) -> None:
        table = Table(title="Atlas's day", title_justify="left", title_style="bold", show_header=False)
        for one in figures:
            table.add_row(one.name, one.found, "[green]✓[/]" if one.right else "[red]✗ not as promised[/]")
        Console().print(table)

    def _stay(self, services: Services, agent_key: str, responder: str, pages: list[dict[str, Any]]) -> None:
        console = Console(soft_wrap=True, highlight=False)
        console.print()
        console.print(f"what runs     {', '.join(_RUNNING)}")
        console.print(f"live page     {services.oracle_url}/demo")
        console.print(f"trust report  {report_url(services)}")
        console.print(f"ingest docs   {services.gateway_url}/docs")
        console.print(f"oracle docs   {services.oracle_url}/docs")
        verify = f"trust get {atlas.AGENT_ID} --verify --url {services.oracle_url} --issuer {DEPLOYMENT}"
        console.print(f"check it      pactstream {verify}")
        console.print(f"the ledger    pactstream verify ledger --url {services.oracle_url}")
        console.print(f"send as Atlas {agent_key}")
        console.print(f"console       {services.console_url}")
        console.print(f"log in with   {responder}")
        console.print(f"and answer    {pages[0]['links']['console']}")
        names = ("KAFKA_BOOTSTRAP", "CLICKHOUSE_PORT", "KEY_DIR")
        variables = [f"PACTSTREAM_{name}={services.environment()[f'PACTSTREAM_{name}']}" for name in names]
        console.print(f"admin key     {services.admin_key}")
        console.print(f"operate it    export {' '.join(variables)}")
        console.print("Ctrl-C stops everything.")
        services.supervisor.watch()


def paged(team: Sink) -> list[dict[str, Any]]:
    """The pages that Atlas's violation opened, by rule, as the team got them; fewer, if some come too late."""
    pages: list[dict[str, Any]] = []
    with suppress(Empty):
        while len(pages) < PAGES:
            pages.append(team.notices.get(timeout=_REFLECTED_SECONDS)["data"])
    # In whatever order they came: the demo shows the same one each time.
    return sorted(pages, key=itemgetter("rule"))


def _paged_figure(pages: list[dict[str, Any]]) -> Figure:
    rules = {(page["paramPath"], page["rule"]) for page in pages}
    return Figure("pages", f"{len(pages)} delivered to the team", rules == atlas.VIOLATED_RULES)


def show_page(pages: list[dict[str, Any]]) -> None:
    """Print one page as its team got it, and its links."""
    console = Console(soft_wrap=True, highlight=False)
    for page in pages[:1]:
        console.print()
        console.print(f"[bold]Page:[/] {escape(page['title'])}")
        for name in ("value", "expected", "sessionId", "pactVersion", "openedAt"):
            console.print(f"  {name:<12} {escape(str(page[name]))}")
        for name, link in page["links"].items():
            console.print(f"  {name:<12} {link}")


def empty(data_dir: Path) -> None:
    """Remove what an earlier demo left in `data_dir`.

    Raises:
        Fatal: it holds something that is not a demo's: a mistyped path must not cost anybody their files.
    """
    marker = data_dir / _MARKER
    if data_dir.exists() and any(data_dir.iterdir()) and not marker.exists():
        raise Fatal(f"{data_dir} is not empty and not a demo's; choose another with --data-dir")
    data_dir.mkdir(parents=True, exist_ok=True)
    # A crash from here on leaves the marker: the next run empties what is left.
    marker.touch()
    for path in data_dir.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != marker:
            path.unlink()


def report_url(services: Services, agent_id: str = atlas.AGENT_ID) -> str:
    """Where an agent's trust report is."""
    return f"{services.oracle_url}/api/v1/trust/{agent_id}"


def reflections(services: Services, events: int, agent_id: str = atlas.AGENT_ID) -> Iterator[int]:
    """How many of the agent's events its trust report reflects, again and again until it is `events`.

    Raises:
        Fatal: it takes too long, or a service ended.
    """
    deadline = clock.monotonic_seconds() + _REFLECTED_SECONDS
    while True:
        services.supervisor.check()
        count = reflected(services, agent_id)
        yield count
        if count >= events:
            return
        if clock.monotonic_seconds() > deadline:
            raise Fatal(f"the trust report reflects {count} of {events} events (logs: {services.data_dir})")
        time.sleep(_POLL_SECONDS)


def reflected(services: Services, agent_id: str) -> int:
    """The agent's last event that both its score and the ledger in the report include."""
    try:
        report = json.loads(fetch(report_url(services, agent_id)))
    except Fatal:
        return 0  # no report yet
    observation, head = report["observation"], report["ledger"]["head"]
    if observation is None or head is None:
        return 0
    return int(min(observation["throughSequence"], head["sequence"]))


def publications(services: Services, events: int) -> Iterator[int]:
    """How many leaves the oracle serves under checkpoints, again and again until it is `events`.

    Raises:
        Fatal: it takes too long, or a service ended.
    """
    deadline = clock.monotonic_seconds() + _REFLECTED_SECONDS
    while True:
        services.supervisor.check()
        count = published_leaves(services)
        yield count
        if count >= events:
            return
        if clock.monotonic_seconds() > deadline:
            raise Fatal(f"{count} of {events} leaves are published (logs: {services.data_dir})")
        time.sleep(_POLL_SECONDS)


def published_leaves(services: Services) -> int:
    """How many leaves the published checkpoints of all logs cover."""
    fetched = source(services.oracle_url)
    count = 0
    try:
        origins = list(parse_keys(fetched(KEYS)))
    except Missing:
        return 0  # the sealer has published nothing yet
    for origin in origins:
        try:
            note = fetched(f"{LEDGER}/{origin.rpartition('/')[2]}/{CHECKPOINT}")
        except Missing:
            continue  # a log without a leaf
        count += Checkpoint.parse(parse_note(note).text).size
    return count


def check(services: Services) -> list[Figure]:
    """Atlas's figures as a counterparty finds them: from the signed report and the published ledger."""
    raw = fetch(report_url(services))
    jwks = json.loads(fetch(f"{services.oracle_url}/.well-known/jwks.json"))
    report = verify_report(raw, jwks, issuer=DEPLOYMENT, now_micros=clock.now_micros())
    seen = services.data_dir / "verified"
    with files.held(seen):
        logs = Verification(services.oracle_url, source(services.oracle_url), PinBook(seen)).run()
    signers = len(json.loads(raw)["signatures"])
    verified = Figure("report", f"{signers} signatures hold, issued by {report['issuer']}", right=True)
    return [*_report_figures(report), verified, *_ledger_figures(report, logs)]


def _report_figures(report: dict[str, Any]) -> list[Figure]:
    observation, compliance = report["observation"], report["pactCompliance"]
    figures = [
        Figure("sessions", str(observation["sessions"]), observation["sessions"] == atlas.SESSIONS),
        Figure("tool calls", str(observation["toolCalls"]), observation["toolCalls"] == atlas.TOOL_CALLS),
        Figure("valid", str(compliance["valid"]), compliance["valid"] == atlas.TOOL_CALLS - 1),
        Figure("pact compliance", f"{compliance['rate']:.0%}", compliance["rate"] == 0.96),
    ]
    violations = report["recentViolations"]
    figures.append(Figure("violations", str(len(violations)), len(violations) == 1))
    for one in violations:
        rules = {(found["paramPath"], found["rule"]) for found in one["violations"]}
        listed = ", ".join(f"{path} ({rule})" for path, rule in sorted(rules))
        right = one["severity"] == "critical" and rules == atlas.VIOLATED_RULES
        figures.append(Figure(f"  {one['tool']}", f"{one['severity']}: {listed}", right))
    return figures


def _ledger_figures(report: dict[str, Any], logs: list[Result]) -> list[Figure]:
    leaves = sum(log.leaves for log in logs)
    faults = sum(log.faults for log in logs)
    claimed = Checkpoint.parse(parse_note(report["ledger"]["checkpoint"].encode()).text)
    matches = claimed in [log.checkpoint for log in logs]
    right = leaves == LEAVES and faults == 0
    return [
        Figure("ledger", f"{leaves} leaves verified from the published files, {faults} faults", right),
        Figure("checkpoint", "the report's is the ledger's" if matches else "differs", matches),
    ]
