"""Pacts with memory, under test: documents of conditions, and calls made up briefly."""

from __future__ import annotations

import json
import uuid
from typing import Any

from pactstream.pacts import Call, CompiledPact, Judgement, PactState, compile_pact, parse_pact

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOON = 1_778_673_600 * SECOND
"""2026-05-13T12:00:00Z."""


def window(severity: str = "major", /, **members: Any) -> dict[str, Any]:
    settings = {
        "aggregate": "sum",
        "tools": ["pay"],
        "paramPath": "amount",
        "over": {"sliding": "PT1H"},
    } | members
    kept = {name: value for name, value in settings.items() if value is not None}
    return {"type": "window", "severity": severity, "window": kept}


def sequence(severity: str = "major", /, **members: Any) -> dict[str, Any]:
    return {"type": "sequence", "severity": severity, "sequence": members}


def escalate(severity: str = "critical", /, **members: Any) -> dict[str, Any]:
    return {"type": "escalate", "severity": severity, "escalate": members}


def document(*conditions: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"name": "Test", "conditions": list(conditions), **members}


def compiled(*conditions: dict[str, Any], pact_id: str = "p", version: int = 1) -> CompiledPact:
    return compile_pact(parse_pact(document(*conditions)), pact_id=pact_id, version=version)


def call(at: int = 0, tool: str = "pay", **settings: Any) -> Call:
    """A call `at` microseconds after noon; settings other than those of `Call` are parameters."""
    of_call = {"event_id", "outcome", "session_id", "params", "received"}
    params = {name: value for name, value in settings.items() if name not in of_call}
    received = settings.get("received")
    return Call(
        settings.get("event_id") or uuid.uuid4(),
        tool,
        settings.get("params") or json.dumps(params).encode(),
        outcome=settings.get("outcome", "success"),
        session_id=settings.get("session_id", "s-1"),
        occurred_at_micros=NOON + at,
        received_at_micros=None if received is None else NOON + received,
    )


def rules(judgement: Judgement) -> list[str]:
    return [violation.rule for violation in judgement.verdict.violations]


class Agent:
    """One agent's calls under one pact, in order."""

    def __init__(self, *conditions: dict[str, Any]) -> None:
        self.pact = compiled(*conditions)
        self.state = PactState()

    def does(self, at: int = 0, tool: str = "pay", **settings: Any) -> Judgement:
        return self.pact.observe(call(at, tool, **settings), self.state)

    def rules(self, at: int = 0, tool: str = "pay", **settings: Any) -> list[str]:
        return rules(self.does(at, tool, **settings))
