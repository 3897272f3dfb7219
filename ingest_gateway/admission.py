"""Which events of a body are taken, under which pact version, with which verdict. No input or output here."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pactstream import ids
from pactstream.control.pacts import PactBook, PactVersion
from pactstream.control.tenants import Tenant
from pactstream.errors import Detail, InvalidInput, PactstreamError
from pactstream.events import ToolCall, parse, results
from pactstream.events.avro_form import event_type, to_avro
from pactstream.events.public_size import MAX_NAMES_BYTES, names_bytes
from pactstream.events.results import Result
from pactstream.pacts import CompiledPact, Verdict
from pactstream.pacts.verdict import digest

_log = logging.getLogger(__name__)


class Refusal(PactstreamError):
    """One event is not taken: `member` of it is at fault."""

    def __init__(self, code: results.Code, message: str, member: str, fault: str) -> None:
        super().__init__(message)
        self.code = code
        self.member = member
        self.fault = fault


@dataclass(slots=True)
class Admission:
    """What became of a body: a result for each event, and the Avro events to be written for each agent."""

    results: list[Result] = field(default_factory=list)
    events_by_agent: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    verdicts: list[tuple[str, Verdict | None]] = field(default_factory=list)
    """Event type and inline verdict of each accepted event."""


def admit(body: bytes, tenant: Tenant, pacts: PactBook, *, received_at_micros: int) -> Admission:
    """Decide on each event of a request body by itself.

    Raises:
        InvalidInput: the body as a whole is no list of events.
    """
    parsed = parse.parse_events(body, received_at_micros=received_at_micros)
    return _Desk(body, tenant, pacts).decide(parsed)


class _Desk:
    """The decisions on one body; what several events share is looked up once."""

    def __init__(self, body: bytes, tenant: Tenant, pacts: PactBook) -> None:
        self._body = body
        self._tenant = tenant
        self._pacts = pacts
        self._body_sha256: bytes | None = None
        # By the number of a UUID: its own hash is computed in Python.
        self._seen: dict[int, int] = {}
        self._agents: dict[int, str] = {}
        self._in_force: dict[int, tuple[PactVersion, CompiledPact]] = {}
        self._admission = Admission()

    def decide(self, parsed: list[parse.Parsed]) -> Admission:
        for index, one in enumerate(parsed):
            self._admission.results.append(self._result(index, one))
        return self._admission

    def _result(self, index: int, parsed: parse.Parsed) -> Result:
        if isinstance(parsed, parse.Rejected):
            return results.rejected("INVALID_INPUT", "the event is not valid", parsed.details)
        event_id = parsed.event.event_id or self._derived_id(index)
        try:
            verdict = self._take(index, parsed, event_id)
        except Refusal as refusal:
            detail = Detail(f"events[{index}].{refusal.member}", refusal.fault)
            return results.rejected(refusal.code, str(refusal), [detail], event_id)
        return results.Accepted(event_id, verdict)

    def _take(self, index: int, parsed: parse.Accepted, event_id: UUID) -> Verdict | None:
        event = parsed.event
        agent_id = self._agents.get(event.agent_id.int) or self._checked_agent(event.agent_id)
        pact, compiled = (None, None) if event.pact_id is None else self._pact(event.pact_id, agent_id)
        first = self._seen.setdefault(event_id.int, index)
        if first != index:
            # The pipeline keeps the first of two events with one id: to accept both would be untrue.
            raise Refusal("INVALID_INPUT", "two events have one id", "eventId", f"repeats events[{first}]")
        _check_public(parsed)
        verdict = None
        if compiled is not None and isinstance(event, ToolCall):
            if parsed.params is None:
                verdict = compiled.judge(event.tool, bytes(event.params))
            else:
                verdict = compiled.judge_decoded(event.tool, parsed.params)
        record = to_avro(parsed, event_id=event_id, pact_version=pact.version if pact else None)
        if verdict is not None:
            record["inline_digest"] = digest(verdict)
        self._admission.events_by_agent.setdefault(agent_id, []).append(record)
        self._admission.verdicts.append((event_type(event), verdict))
        return verdict

    def _derived_id(self, index: int) -> UUID:
        if self._body_sha256 is None:
            self._body_sha256 = hashlib.sha256(self._body).digest()
        return ids.derived_event_id(self._tenant.tenant_id, self._body_sha256, index)

    def _checked_agent(self, agent: UUID) -> str:
        agent_id = str(agent)
        check_agent(self._tenant, agent_id)
        self._agents[agent.int] = agent_id
        return agent_id

    def _pact(self, pact_id: UUID, agent_id: str) -> tuple[PactVersion, CompiledPact]:
        found = self._in_force.get(pact_id.int)
        if found is None:
            found = self._in_force[pact_id.int] = in_force(self._pacts, self._tenant, str(pact_id))
        check_bound(found[0], agent_id)
        return found


def _check_public(parsed: parse.Accepted) -> None:
    """Nothing, if what is public of the event fits into a leaf. Values are private; names are not.

    Raises:
        Refusal: the names of its parameters and metadata are too long.
    """
    event = parsed.event
    params = bytes(event.params) if isinstance(event, ToolCall) else None
    size = names_bytes(params, event.metadata or ())
    if size > MAX_NAMES_BYTES:
        fault = f"their names take {size} bytes in the public ledger, at most {MAX_NAMES_BYTES}"
        raise Refusal("INVALID_INPUT", "the public part of the event is too large", "params, metadata", fault)


def check_agent(tenant: Tenant, agent_id: str) -> None:
    """Nothing, if the agent may act for the tenant.

    Raises:
        Refusal: not registered with this tenant (whether or not with another), or paused.
    """
    agent = tenant.agents.get(agent_id)
    if agent is None:
        raise Refusal("FORBIDDEN", "the agent is not one of this tenant's", "agentId", "is not registered")
    if agent.status != "active":
        raise Refusal("CONFLICT", "the agent is paused", "agentId", "is paused")


def in_force(
    pacts: PactBook, tenant: Tenant, pact_id: str, version: int | None = None
) -> tuple[PactVersion, CompiledPact]:
    """A version of one of the tenant's pacts, by default the one in force, ready to judge.

    Raises:
        Refusal: no such pact of this tenant (whether or not of another), or this process cannot read it.
    """
    found = pacts.latest(pact_id) if version is None else pacts.get(pact_id, version)
    if found is None or found.tenant_id != tenant.tenant_id:
        raise Refusal("NOT_FOUND", "no such pact of this tenant", "pactId", "is not known")
    try:
        compiled = pacts.compiled(pact_id, found.version)
    except InvalidInput as error:
        # A newer release wrote it. Judging by anything else, or not at all, would be wrong.
        _log.error("pact %s cannot be read here: %s", found.key, error)
        raise Refusal(
            "CONFLICT", "this gateway cannot judge by that pact", "pactId", "is not readable"
        ) from None
    if compiled is None:
        raise Refusal("NOT_FOUND", "no such pact of this tenant", "pactId", "is not known")
    return found, compiled


def check_bound(pact: PactVersion, agent_id: str) -> None:
    """Nothing, if the pact is for this agent or for any.

    Raises:
        Refusal: it is for another one.
    """
    if pact.agent_id is not None and pact.agent_id != agent_id:
        raise Refusal("INVALID_INPUT", "the pact is for another agent", "pactId", "is for another agent")
