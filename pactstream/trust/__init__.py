"""What a counterparty needs: fetch a trust report, believe nothing that is not proven, decide by a policy.

    client = TrustClient(issuer="oracle.example", jwks=pinned)
    decision = decide(client.get(agent_id), policy)

In the base install: no broker, no database, no web framework.
"""

from pactstream.trust.client import TrustClient
from pactstream.trust.errors import (
    LedgerForked,
    LedgerUnproven,
    OracleUnavailable,
    ReportError,
    ReportExpired,
    ReportIssuerError,
    ReportMalformed,
    ReportSignatureError,
    ReportStale,
    UnknownAgent,
)
from pactstream.trust.policy import Decision, Forbidden, Policy, decide

__all__ = [
    "Decision",
    "Forbidden",
    "LedgerForked",
    "LedgerUnproven",
    "OracleUnavailable",
    "Policy",
    "ReportError",
    "ReportExpired",
    "ReportIssuerError",
    "ReportMalformed",
    "ReportSignatureError",
    "ReportStale",
    "TrustClient",
    "UnknownAgent",
    "decide",
]
