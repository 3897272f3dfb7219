"""Pacts: parse a behavioural contract, compile it, judge calls against it.

pact = parse_pact(document)
verdict = compile_pact(pact, pact_id="…", version=1).judge("transfer_funds", b'{"amount": 250}')
"""

from __future__ import annotations

from pactstream.pacts.compile import CompiledPact, compile_pact
from pactstream.pacts.model import Pact
from pactstream.pacts.parse import PactError, pact_hash, parse_pact
from pactstream.pacts.verdict import SEVERITIES, Severity, Verdict, Violation

__all__ = [
    "SEVERITIES",
    "CompiledPact",
    "Pact",
    "PactError",
    "Severity",
    "Verdict",
    "Violation",
    "compile_pact",
    "pact_hash",
    "parse_pact",
]
