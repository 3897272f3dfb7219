"""The payment authorisation that docs/counterparty.md shows, run as it stands there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from pactstream import clock
from pactstream.cli import trust
from pactstream.errors import Fatal, InvalidInput
from pactstream.trust import Decision, TrustClient
from tests.oracle_states import SCORE, violating
from tests.published_ledger import changed, published, relinked
from tests.trust_oracle import AGENT, ENTRIES, ISSUER, TestOracle, serving, state_of

PAGE = Path(__file__).parents[2] / "docs" / "counterparty.md"
LOG = published(ENTRIES[:300], ())
Authorise = Callable[[TrustClient, dict[str, Any]], Decision]


@pytest.fixture
def authorise() -> Authorise:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    found: Authorise = names["authorise"]
    return found


@pytest.fixture
def oracle(tmp_path: Path) -> Iterator[TestOracle]:
    with serving(tmp_path) as running:
        running.show(LOG, recent_violations=())
        yield running


@pytest.fixture
def client(oracle: TestOracle) -> Iterator[TrustClient]:
    with TrustClient(issuer=ISSUER, jwks=oracle.jwks, url=oracle.url) as ours:
        yield ours


def payment(amount: int = 100) -> dict[str, Any]:
    return {"agent_id": str(AGENT), "amount": amount}


def test_a_good_agent_is_paid_and_a_large_payment_needs_more(authorise: Authorise, client: TrustClient) -> None:
    assert authorise(client, payment()) == Decision(True, ())
    assert authorise(client, payment(10_001)).reasons == ("payments above 10000 need a confidence of 0.9",)


def test_a_paused_agent_and_a_recent_violation_are_refused(
    authorise: Authorise, client: TrustClient, oracle: TestOracle
) -> None:
    oracle.show(LOG, standing="paused", recent_violations=())
    assert authorise(client, payment()).reasons == ("the agent is paused",)
    recent = msgspec.structs.replace(violating(20), received_at=clock.to_iso(clock.now_micros()))
    oracle.show(LOG, recent_violations=(recent,))
    (reason,) = authorise(client, payment()).reasons
    assert "critical" in reason


def test_too_little_evidence_is_refused(authorise: Authorise, client: TrustClient, oracle: TestOracle) -> None:
    oracle.show(
        LOG, recent_violations=(), score=replace(SCORE, through_sequence=100, bound_calls=19, confidence=0.4)
    )
    assert len(authorise(client, payment()).reasons) == 2


def test_a_rewritten_ledger_and_a_silent_oracle_are_told_apart(
    authorise: Authorise, client: TrustClient, oracle: TestOracle
) -> None:
    assert authorise(client, payment())
    rewritten = published(relinked([changed(one, tool="wipe") for one in ENTRIES[:300]]), ())
    oracle.files |= rewritten.files
    oracle.sign(state_of(rewritten))
    assert authorise(client, payment()).reasons[0].startswith("LedgerForked: ")
    oracle.status = 503
    assert authorise(client, payment()).reasons[0].startswith("no report: ")


def test_the_command_line_decides_the_same(oracle: TestOracle, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps(oracle.jwks))
    policy = tmp_path / "policy.json"
    files = ["--policy", str(policy), "--jwks", str(tmp_path / "keys.json"), "--state", str(tmp_path / "state")]
    command = ["decide", str(AGENT), *files, "--issuer", ISSUER, "--url", oracle.url]
    policy.write_text('{"minTier": "silver"}')
    assert CliRunner().invoke(trust.app, command).output == "allowed\n"
    policy.write_text('{"minTier": "platinum"}')
    denied = CliRunner().invoke(trust.app, command)
    assert isinstance(denied.exception, InvalidInput)
    assert [reason for _, reason in denied.exception.details] == ["its tier is gold; demanded is platinum"]
    policy.write_text("{}")
    (tmp_path / "keys.json").write_text("nothing of the kind")
    assert isinstance(CliRunner().invoke(trust.app, command).exception, Fatal)
