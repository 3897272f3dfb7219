"""What the guide and the templates show is true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pactstream.pacts import PactState, compile_pact, parse_pact, templates
from tests.pact_calls import HOUR, MINUTE, call, rules

GUIDE = Path(__file__).parents[2] / "docs" / "pacts.md"


def test_the_conditions_of_the_guide_are_read() -> None:
    (listed,) = re.findall(r"```json\n(\[.*?\n\])\n```", GUIDE.read_text(), re.DOTALL)
    (objectives,) = re.findall(r'```json\n("objectives": .*?)\n```', GUIDE.read_text(), re.DOTALL)
    document = {"name": "Guide", "conditions": json.loads(listed), **json.loads(f"{{{objectives}}}")}
    pact = parse_pact(document)
    assert len(pact.conditions) == 5
    assert pact.objectives is not None


TRANSFER = {
    "destination": "0x1111111111111111111111111111111111111111",
    "amount": 9_000,
    "currency": "USDC",
    "idempotencyKey": "inv-2026-0001",
}
REFUND = {"orderId": "ord-123456", "refund": {"amount": 90, "currency": "EUR"}, "reason": "late"}
RECORDS = {"purpose": "treatment", "fields": ["allergies"], "limit": 1}


@pytest.mark.parametrize(
    ("name", "tool", "params", "calls", "expected"),
    [
        ("treasury", "transfer_funds", lambda n: TRANSFER, 3, ["window"]),
        ("support", "issue_refund", lambda n: REFUND, 12, ["requires", "window"]),
        ("phi", "query_records", lambda n: RECORDS | {"patientId": f"pat-{1000 + n}"}, 31, ["window"]),
    ],
)
def test_a_template_holds_an_agent_to_its_budget(
    name: str, tool: str, params: Any, calls: int, expected: list[str]
) -> None:
    pact = compile_pact(parse_pact(templates.load(name)), pact_id=name, version=1)
    state = PactState()
    found = [rules(pact.observe(call(n * MINUTE // 2, tool, **params(n)), state)) for n in range(calls)]
    assert not any("window" in one for one in found[:-1])
    assert found[-1] == expected


def test_templates_forbid_an_export_after_reading_and_stop_after_failures() -> None:
    phi = compile_pact(parse_pact(templates.load("phi")), pact_id="phi", version=1)
    state = PactState()
    phi.observe(call(0, "query_records", **RECORDS, patientId="pat-1000"), state)
    assert "forbids" in rules(phi.observe(call(HOUR, "export_cohort"), state))
    code = compile_pact(parse_pact(templates.load("code-execution")), pact_id="code", version=1)
    found = [rules(code.observe(call(n, "run_command", outcome="error"), state)) for n in range(6)]
    assert ["maxConsecutiveErrors" in one for one in found] == [False] * 5 + [True]
