"""From the gateway's acknowledgement to the receiver: `python -m tests.bench.bench_paging [PAGES] [RATE]`.

One gateway, one evaluator, one paging process and one broker on this machine. Each event opens a page of its
own; the receivers are an HTTP sink and a real Alertmanager (Debian's `prometheus-alertmanager`), asked for its
alerts every few milliseconds. Figures under load of other work say little.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from queue import Empty
from threading import Event, Thread
from typing import Any

import httpx

from pactstream.devstack import ports, sink
from pactstream.devstack.onboarding import Onboarding
from pactstream.devstack.services import PAGING
from pactstream.devstack.sink import Sink
from pactstream.devstack.stack import Stack as Stores
from tests.bench.figures import report
from tests.paging_stack import ROUTE, Stack, running
from tests.stack import ClickHouseAddress, eventually, fresh_prefix

PAGES = 100
RATE = 4.0
AIM_SECONDS = 1.0
RULES = 50
_WAIT_SECONDS = 60.0

Arrivals = dict[str, float]  # event id to time


def main() -> int:
    """Print both figures; exit code 1 where p99 is beyond the aim."""
    pages, rate = int(sys.argv[1]) if sys.argv[1:] else PAGES, float(sys.argv[2]) if sys.argv[2:] else RATE
    with (
        tempfile.TemporaryDirectory() as directory,
        Stores(Path(directory, "stack")) as stores,
        running(
            stores.kafka_bootstrap,
            fresh_prefix(),
            ClickHouseAddress(stores.clickhouse_host, stores.clickhouse_port, "default", "", "pactstream"),
            Path(directory, "services"),
            PAGING,
        ) as stack,
    ):
        worst = measured("HTTP sink", stack, pages, rate, sink_receiver(stack))
        if shutil.which("prometheus-alertmanager"):
            with alertmanager(Path(directory)) as url:
                worst = max(worst, measured("Alertmanager", stack, pages, rate, alert_receiver(stack, url)))
        else:
            print("Alertmanager is not installed: not measured")
    return 0 if worst < AIM_SECONDS else 1


def measured(
    name: str, stack: Stack, pages: int, rate: float, receiving: Callable[[], AbstractContextManager[Arrivals]]
) -> float:
    """Send violations at a steady rate and wait for their pages; p99 in seconds."""
    sent: dict[str, float] = {}
    with receiving() as arrivals:
        agents = list(registered(stack, -(-(pages + 1) // RULES)))
        # What is made at the first page (connections, say) is not what the next ones take.
        warm = violation(*agents[-1], RULES - 1)
        stack.ask("POST", "/api/v1/telemetry/events", {"events": [warm]})
        eventually(lambda: warm["eventId"] in arrivals, timeout=_WAIT_SECONDS)
        for number in range(pages):
            due = time.monotonic() + 1 / rate
            agent_id, pact_id = agents[number // RULES]
            event = violation(agent_id, pact_id, number % RULES)
            answer = stack.ask("POST", "/api/v1/telemetry/events", {"events": [event]})
            sent[event["eventId"]] = time.monotonic()
            assert answer.status_code == 200, answer.text
            time.sleep(max(due - time.monotonic(), 0))
        eventually(lambda: len(sent.keys() & arrivals.keys()) == pages, timeout=_WAIT_SECONDS)
    taken = sorted(arrivals[event_id] - at for event_id, at in sent.items())
    p50, p99 = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    print(f"{name}: {pages} pages at {rate:g}/s, p50 {p50 * 1_000:.0f} ms, p99 {p99 * 1_000:.0f} ms")
    report(f"acknowledgement to {name}, p99", f"{p99 * 1_000:.0f} ms", target=f"{AIM_SECONDS:g} s")
    return p99


def registered(stack: Stack, count: int) -> Iterator[tuple[str, str]]:
    """Agents with a pact each, of fifty rules."""
    onboarding = Onboarding(stack.services.gateway_url, stack.services.admin_key)
    rules = [{"paramPath": f"p{number}", "allowList": ["a"]} for number in range(RULES)]
    for _ in range(count):
        agent_id, pact_id = str(uuid.uuid4()), str(uuid.uuid4())
        condition = {
            "type": "param_binding",
            "severity": "critical",
            "parameterBinding": {"tool": "t", "rules": rules},
        }
        document = {"name": "Many", "agentId": agent_id, "conditions": [condition]}
        onboarding.register(agent_id, "an agent", pact_id=pact_id, document=document)
        yield agent_id, pact_id


def violation(agent_id: str, pact_id: str, rule: int) -> dict[str, Any]:
    """A call that breaks one rule."""
    return {
        "type": "tool_call",
        "eventId": str(uuid.uuid4()),
        "sessionId": "s",
        "agentId": agent_id,
        "pactId": pact_id,
        "tool": "t",
        "params": {f"p{rule}": "b"},
        "outcome": "success",
        "attemptedAt": "2026-05-13T10:00:00Z",
    }


def sink_receiver(stack: Stack) -> Callable[[], AbstractContextManager[Arrivals]]:
    """Arrivals at a sink, by event."""

    @contextmanager
    def receiving() -> Iterator[Arrivals]:
        arrivals: Arrivals = {}
        stop = Event()
        with sink.receiving() as team:
            _route(stack, {"kind": "webhook", "name": "sink", "url": team.url})
            thread = Thread(target=_drain, args=(team, arrivals, stop))
            thread.start()
            yield arrivals
            stop.set()
            thread.join()

    return receiving


def _drain(team: Sink, arrivals: Arrivals, stop: Event) -> None:
    while not stop.is_set():
        try:
            notice = team.notices.get(timeout=0.2)
        except Empty:
            continue
        arrivals[notice["data"].get("eventId", "")] = time.monotonic()


def alert_receiver(stack: Stack, url: str) -> Callable[[], AbstractContextManager[Arrivals]]:
    """Alerts as Alertmanager lists them, by the event that their proof is of."""

    @contextmanager
    def receiving() -> Iterator[Arrivals]:
        arrivals: Arrivals = {}
        stop = Event()
        _route(stack, {"kind": "alertmanager", "name": "alertmanager", "url": url})
        thread = Thread(target=_poll, args=(url, arrivals, stop))
        thread.start()
        yield arrivals
        stop.set()
        thread.join()

    return receiving


def _poll(url: str, arrivals: Arrivals, stop: Event) -> None:
    with httpx.Client(trust_env=False) as client:
        while not stop.is_set():
            for alert in client.get(f"{url}/api/v2/alerts").json():
                event_id = str(alert["annotations"]["link_proof"]).split("/")[-2]
                arrivals.setdefault(event_id, time.monotonic())
            time.sleep(0.02)


def _route(stack: Stack, body: dict[str, Any]) -> None:
    made = stack.ask("PUT", ROUTE, body)
    assert made.status_code in (200, 201), made.text


@contextmanager
def alertmanager(directory: Path) -> Iterator[str]:
    """A real Alertmanager of our own on loopback."""
    config = directory / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    port = ports.free_port()
    command = [
        "prometheus-alertmanager",
        f"--config.file={config}",
        f"--storage.path={directory / 'alerts'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: _answers(url), timeout=20)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    sys.exit(main())
