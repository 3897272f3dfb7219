"""Why a report is not to be relied on: one type for each reason. All but two are `ReportError`."""

from __future__ import annotations

from pactstream.errors import InvalidInput, Retryable
from pactstream.signing.report import (
    ReportError,
    ReportExpired,
    ReportIssuerError,
    ReportMalformed,
    ReportSignatureError,
)

__all__ = [
    "LedgerForked",
    "LedgerUnproven",
    "OracleUnavailable",
    "ReportError",
    "ReportExpired",
    "ReportIssuerError",
    "ReportMalformed",
    "ReportSignatureError",
    "ReportStale",
    "UnknownAgent",
]


class OracleUnavailable(Retryable):
    """The oracle does not answer, or says that it cannot now: nothing is known, for or against the agent."""


class UnknownAgent(InvalidInput):
    """The oracle knows nothing of this agent."""


class ReportStale(ReportError):
    """In force by its own dates, but older, or further behind the ledger, than the caller accepts."""


class LedgerUnproven(ReportError):
    """The checkpoint is not the log's, or what the report says of the ledger does not follow from it."""


class LedgerForked(ReportError):
    """The ledger is not the one seen before: keep both checkpoints, they are evidence against the operator."""
