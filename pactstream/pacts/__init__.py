"""Pacts: parse a behavioural contract, compile it, judge calls against it.

pact = parse_pact(document)
compiled = compile_pact(pact, pact_id="…", version=1)
verdict = compiled.judge("transfer_funds", b'{"amount": 250}')           # the call alone
judgement = compiled.observe(Call(event_id, "transfer_funds", …), state)  # after those in `state`
"""

from __future__ import annotations

from pactstream.pacts.calls import Call, Crossing, Judgement
from pactstream.pacts.compile import CompiledPact, compile_pact
from pactstream.pacts.foresight import Claim, Foreseen, Held
from pactstream.pacts.model import Pact
from pactstream.pacts.parse import PactError, pact_hash, parse_pact
from pactstream.pacts.state import PactState
from pactstream.pacts.verdict import SEVERITIES, Severity, Verdict, Violation

__all__ = [
    "SEVERITIES",
    "Call",
    "Claim",
    "CompiledPact",
    "Crossing",
    "Foreseen",
    "Held",
    "Judgement",
    "Pact",
    "PactError",
    "PactState",
    "Severity",
    "Verdict",
    "Violation",
    "compile_pact",
    "pact_hash",
    "parse_pact",
]
