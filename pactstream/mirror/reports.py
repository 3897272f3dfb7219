"""Serves an oracle's trust reports again, as it signed them, until they expire and not a moment longer.

A report is asked for at the oracle when somebody asks here, and kept, on disk too. Nothing is kept or served
that does not verify under the issuer's pinned keys: neither a stranger nor the oracle's host can fill the disk.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from pactstream import clock
from pactstream.errors import InvalidInput, Retryable
from pactstream.ledger import files
from pactstream.mirror import statement
from pactstream.signing.jwks import jwks_document
from pactstream.signing.keys import SigningKey
from pactstream.signing.report import ReportMalformed, verify_report
from pactstream.trust.errors import UnknownAgent
from pactstream.trust.ledger import LedgerClaim
from pactstream.trust.oracle import MAX_REPORT_BYTES, Oracle

MAX_REPORTS: Final = 10_000
"""So many agents' reports are kept; the longest unasked go."""

_SUFFIX: Final = ".report.json"
_log = logging.getLogger(__name__)


class _Claims(msgspec.Struct, frozen=True, rename="camel"):
    agent_id: str
    issued_at: Annotated[datetime, Meta(tz=True)]
    expires_at: Annotated[datetime, Meta(tz=True)]
    ledger: LedgerClaim


@dataclass(frozen=True, slots=True)
class Report:
    """A report's bytes, the mirror's statement about them, and times in microseconds since 1970."""

    body: bytes
    statement: str
    issued_at_micros: int
    expires_at_micros: int
    seen_at_micros: int


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose reports are mirrored: the name and the key set that the operator of the mirror pinned."""

    name: str
    jwks: Mapping[str, Any]


class ReportMirror:
    """Reports of one issuer; `directory` is ours alone. Safe to use from several threads.

    `reach(origin, note)`: have the log mirrored as far as a report's checkpoint. It raises `Retryable` if it is
    not, because a report whose ledger cannot be looked up is worth less than the one before it.
    """

    def __init__(
        self,
        oracle: Oracle,
        issuer: Issuer,
        directory: Path,
        key: SigningKey,
        name: str,
        reach: Callable[[str, str], None],
        *,
        refresh_seconds: float,
        now_micros: Callable[[], int] = clock.now_micros,
    ) -> None:
        self._oracle = oracle
        self._issuer = issuer
        self._directory = directory
        self._key = key
        self._name = name
        self._reach = reach
        self._refresh_micros = int(refresh_seconds * clock.MICROS_PER_SECOND)
        self._now_micros = now_micros
        self._lock = Lock()
        self._kept: OrderedDict[str, Report] = OrderedDict()
        self._restore()

    def get(self, agent_id: UUID) -> Report:
        """The agent's report: the oracle's present one, or else the last one while it is in force.

        Raises:
            UnknownAgent: the oracle knows nothing of the agent, and no report in force is kept.
            Retryable: neither the oracle nor anything in force can be had.
        """
        wanted = str(agent_id)
        kept = self._in_force(wanted)
        if kept is not None and self._now_micros() - kept.seen_at_micros < self._refresh_micros:
            return kept
        try:
            return self._fetched(wanted)
        except Retryable as error:
            return self._instead(wanted, error)
        except UnknownAgent:
            if (kept := self._in_force(wanted)) is None:
                raise
            return kept
        except InvalidInput as error:
            _log.error("the oracle's report of %s is refused: %s", wanted, error)
            return self._instead(wanted, Retryable(f"the oracle's report is refused: {error}"))

    def _instead(self, agent_id: str, error: Retryable) -> Report:
        kept = self._in_force(agent_id)
        if kept is None:
            raise error
        _log.warning("%s: the last report is served: %s", agent_id, error)
        return kept

    def _in_force(self, agent_id: str) -> Report | None:
        with self._lock:
            kept = self._kept.get(agent_id)
            if kept is None:
                return None
            if kept.expires_at_micros <= self._now_micros():
                del self._kept[agent_id]
                self._path(agent_id).unlink(missing_ok=True)
                return None
            self._kept.move_to_end(agent_id)
            return kept

    def _fetched(self, agent_id: str) -> Report:
        raw, now = self._oracle.report(agent_id), self._now_micros()
        claims = self._claims(raw, agent_id)
        said = statement.sign(
            raw,
            self._key,
            mirror=self._name,
            agent_id=agent_id,
            seconds=now // clock.MICROS_PER_SECOND,
            expires=-(-clock.to_micros(claims.expires_at) // clock.MICROS_PER_SECOND),
        )
        if claims.ledger.head is not None and claims.ledger.checkpoint is not None:
            self._reach(claims.ledger.head.log, claims.ledger.checkpoint)
        return self._keep(agent_id, _report(raw, said, claims, now))

    def _keep(self, agent_id: str, report: Report) -> Report:
        with self._lock:
            kept = self._kept.get(agent_id)
            if kept is not None and report.issued_at_micros < kept.issued_at_micros:
                return kept  # another process of the oracle is a moment behind
            # A crash before this leaves the last report; after it, this one, with its statement.
            files.replace(self._path(agent_id), report.statement.encode() + b"\n" + report.body)
            self._kept[agent_id] = report
            self._kept.move_to_end(agent_id)
            while len(self._kept) > MAX_REPORTS:
                gone, _ = self._kept.popitem(last=False)
                self._path(gone).unlink(missing_ok=True)
        return report

    def _claims(self, raw: bytes, agent_id: str) -> _Claims:
        now = self._now_micros()
        verified = verify_report(raw, self._issuer.jwks, issuer=self._issuer.name, now_micros=now)
        try:
            claims = msgspec.convert(verified, _Claims)
        except msgspec.ValidationError as error:
            raise ReportMalformed(f"the report's claims are malformed: {error}") from error
        if claims.agent_id != agent_id:
            raise ReportMalformed(f"the report is of the agent {claims.agent_id}")
        return claims

    def _restore(self) -> None:
        """Take up what a process before this one kept, as far as it is in force."""
        ours = jwks_document([self._key.public])
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            agent_id = path.name.removesuffix(_SUFFIX)
            said, _, body = (files.read(path, MAX_REPORT_BYTES + statement.MAX_CHARS) or b"").partition(b"\n")
            text = said.decode("ascii", "replace")
            try:
                had = statement.verify(text, body, ours, mirror=self._name, now_micros=self._now_micros())
                claims = self._claims(body, agent_id)
            except InvalidInput as error:
                _log.info("the report of %s is not kept any longer: %s", agent_id, error)
                path.unlink(missing_ok=True)
                continue
            self._kept[agent_id] = _report(body, text, claims, had.iat * clock.MICROS_PER_SECOND)

    def _path(self, agent_id: str) -> Path:
        return self._directory / f"{agent_id}{_SUFFIX}"


def _report(body: bytes, said: str, claims: _Claims, seen_at_micros: int) -> Report:
    issued, expires = clock.to_micros(claims.issued_at), clock.to_micros(claims.expires_at)
    return Report(body, said, issued, expires, seen_at_micros)
