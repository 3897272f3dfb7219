"""One evaluator, four ways to it: library, gateway, worker and command line decide each hard case alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from evaluator_worker.agents import Memory
from evaluator_worker.task import EvaluatorTask
from ingest_gateway.admission import admit
from pactstream.control.pacts import PactBook
from pactstream.control.tenants import Agent, Tenant
from pactstream.errors import InvalidInput
from pactstream.events.results import Accepted
from tests.cli_tools import Run, runner
from tests.evaluator_tools import AGENT, PACT, Book, Pacts, Written, call, record
from tests.unit.test_pact_hard_cases import ROWS, document, judge

NOW = 1_778_673_600_000_000
HUGE_EXPONENT = b'{"amount": 1e99999999999999999999}'
TENANT = Tenant("t", "Acme", "p", 0).with_agent(Agent(AGENT, "Atlas", "active", 0))


def by_gateway(rule: dict[str, Any], params: bytes) -> list[str] | None:
    """The rules that its inline verdict names; None: no such event is taken."""
    head = f'"type":"tool_call","agentId":"{AGENT}","pactId":"{PACT}","sessionId":"s","tool":"pay"'
    tail = '"outcome":"success","attemptedAt":"2026-05-13T12:00:00Z","params":'
    body = b'{"events":[{' + head.encode() + b"," + tail.encode() + params + b"}]}"
    try:
        admission = admit(body, TENANT, cast(PactBook, Book(document(rule))), received_at_micros=NOW)
    except InvalidInput:
        return None
    if not isinstance(admission.results[0], Accepted):
        return None
    ((_, verdict),) = admission.verdicts
    assert verdict is not None
    return [violation.rule for violation in verdict.violations]


def by_worker(rule: dict[str, Any], params: bytes) -> list[str]:
    written = Written()
    task = EvaluatorTask(3, Pacts(document(rule)), Memory(events=10, hours=24))
    task.process(record(call(tool="pay", params=params)), written)
    task.flush(written)
    (leaf,) = written.leaves()
    assert leaf.verdict is not None
    return [violation.rule for violation in leaf.verdict.violations]


@pytest.mark.parametrize(
    ("case", "rule", "params", "violated"), ROWS, ids=[f"{r[0]}-{r[2][:40]!r}" for r in ROWS]
)
def test_library_gateway_and_worker(
    case: str, rule: dict[str, Any], params: bytes, violated: list[str]
) -> None:
    assert [violation.rule for violation in judge(rule, params).violations] == violated
    assert by_worker(rule, params) == violated
    # The gateway refuses an event whose parameters cannot be judged, or lie deeper than 32 levels: it never
    # becomes a record. Of a number with such an exponent it sees only that it is JSON.
    refused = case == "deep nesting" or (violated == ["params"] and params != HUGE_EXPONENT)
    assert by_gateway(rule, params) == (None if refused else violated)


@pytest.fixture
def pactstream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def test_pact_judge_on_what_cannot_be_judged(pactstream: Run, tmp_path: Path) -> None:
    pact = tmp_path / "pact.json"
    for _, rule, params, violated in ROWS:
        if violated == ["params"] and len(params) < 10_000:  # more does not fit on a command line
            pact.write_text(json.dumps(document(rule)))
            given = params.decode("utf-8", "surrogateescape")
            ran = pactstream("pact", "judge", pact, "--tool", "pay", "--params", given)
            assert ran.code == 1, params
            assert "cannot be judged" in ran.out, params


def test_pact_test_on_the_others(pactstream: Run, tmp_path: Path) -> None:
    """Each call with what is expected of it: the command says whether one is judged otherwise."""
    by_pact: dict[str, list[bytes]] = {}
    for case, rule, params, violated in ROWS:
        if violated == ["params"] or case == "deep nesting":
            continue
        expected = json.dumps({"valid": not violated}).encode()
        line = b'{"tool": "pay", "params": ' + params + b', "expect": ' + expected + b"}"
        by_pact.setdefault(json.dumps(document(rule)), []).append(line)
    pact, events = tmp_path / "pact.json", tmp_path / "calls.jsonl"
    for text, lines in by_pact.items():
        pact.write_text(text)
        events.write_bytes(b"\n".join(lines))
        ran = pactstream("pact", "test", pact, "--events", events)
        assert (ran.code, ran.err) == (0, ""), (text, ran.out)
        assert f"{len(lines)} call" in ran.out
        assert "0 not in order" in ran.out
