"""Fetches an agent's report and returns its claims only if everything that can be checked holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Annotated, Any, Self
from uuid import UUID

import msgspec
from msgspec import Meta

from pactstream import clock
from pactstream.errors import InvalidInput
from pactstream.ledger.cosignature import Policy
from pactstream.signing.report import verify_report
from pactstream.trust.errors import ReportMalformed, ReportStale
from pactstream.trust.ledger import LedgerCheck, LedgerClaim
from pactstream.trust.memory import Memory
from pactstream.trust.oracle import Oracle


class _Freshness(msgspec.Struct, frozen=True, rename="camel"):
    score_lag_seconds: float | None = None


class _Checked(msgspec.Struct, frozen=True, rename="camel"):
    """What of a verified report is checked further."""

    agent_id: str
    issued_at: Annotated[datetime, Meta(tz=True)]
    ledger: LedgerClaim
    freshness: _Freshness
    observation: Any = None


class TrustClient:
    """Reports of one issuer. May be shared by threads.

    `jwks` is the issuer's key set, decoded, which you got from the issuer once and keep: keys that come along
    with a report prove nothing. `log_keys` are its logs' verifier keys as text; without them the first ones
    that the oracle publishes are trusted and remembered. `witnesses` are verifier keys as text, of whom
    `quorum`, or all, must have cosigned the tree that a report names, or a later one that extends it. `url` is
    `https://` and the issuer unless given. With `state_dir` the memory of checkpoints outlives the process; one
    process may use it at a time.

    Raises:
        InvalidInput: a key is none, or so many cosignatures cannot be asked for.
    """

    def __init__(
        self,
        *,
        issuer: str,
        jwks: Mapping[str, Any],
        url: str | None = None,
        log_keys: str | None = None,
        witnesses: Sequence[str] = (),
        quorum: int | None = None,
        state_dir: Path | None = None,
        check_ledger: bool = True,
        max_age_seconds: float = 300,
        max_lag_seconds: float = 60,
        timeout_seconds: float = 5,
    ) -> None:
        policy = Policy.of(witnesses, quorum)
        if policy.quorum and not check_ledger:
            raise InvalidInput("cosignatures are of the ledger, which is not to be checked")
        self._issuer = issuer
        self._jwks = dict(jwks)
        self._max_age_seconds = max_age_seconds
        self._max_lag_seconds = max_lag_seconds
        self._oracle = Oracle(url or f"https://{issuer}", timeout_seconds)
        self._memory = Memory(state_dir)
        self._ledger = (
            LedgerCheck(self._oracle, self._memory, None if log_keys is None else log_keys.encode(), policy)
            if check_ledger
            else None
        )
        self._one_at_a_time = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what was seen, and close every connection."""
        self._memory.close()
        self._oracle.close()

    def get(self, agent_id: str | UUID) -> dict[str, Any]:
        """The claims of the agent's report, all checks passed.

        Raises:
            OracleUnavailable: the oracle does not answer; try again.
            UnknownAgent: it knows nothing of the agent.
            ReportSignatureError, ReportIssuerError, ReportExpired, ReportMalformed: it is not the issuer's.
            ReportStale: it is too old, or the score too far behind the ledger.
            LedgerUnproven: what it says of the ledger does not follow from a checkpoint that the log signed and
                enough witnesses cosigned.
            LedgerForked: the ledger is not the one seen before.
        """
        wanted = str(UUID(str(agent_id)))
        raw = self._oracle.report(wanted)
        now = clock.now_micros()
        claims = verify_report(raw, self._jwks, issuer=self._issuer, now_micros=now)
        checked = _checked(claims)
        if checked.agent_id != wanted:
            raise ReportMalformed(f"the report is of the agent {checked.agent_id}, not of {wanted}")
        self._check_freshness(checked, now)
        if self._ledger is not None:
            with self._one_at_a_time:
                self._ledger.check(wanted, checked.ledger, observed=checked.observation is not None)
        return claims

    def _check_freshness(self, checked: _Checked, now_micros: int) -> None:
        age = (now_micros - clock.to_micros(checked.issued_at)) / clock.MICROS_PER_SECOND
        if age > self._max_age_seconds:
            raise ReportStale(f"the report is {age:.0f} s old; accepted are {self._max_age_seconds:.0f} s")
        lag = checked.freshness.score_lag_seconds
        if lag is not None and lag > self._max_lag_seconds:
            raise ReportStale(
                f"the score is {lag:.0f} s behind the ledger; accepted are {self._max_lag_seconds:.0f} s"
            )


def _checked(claims: Mapping[str, Any]) -> _Checked:
    try:
        return msgspec.convert(claims, _Checked)
    except msgspec.ValidationError as error:
        raise ReportMalformed(f"the report's claims are malformed: {error}") from error
