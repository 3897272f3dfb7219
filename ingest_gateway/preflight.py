"""`POST /api/v1/pacts/{pactId}/validate-call`: the verdict before the call, and the reservations of budget."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Path, Request, Response, Security
from msgspec import UNSET, Meta, UnsetType

from ingest_gateway import documented, metrics
from ingest_gateway.access import DOCUMENTED_KEY, Access, Principal
from ingest_gateway.admission import Refusal, check_agent, check_bound, in_force
from ingest_gateway.evaluators import Evaluators
from pactstream import ids
from pactstream.control.pacts import PactBook
from pactstream.errors import Detail, InvalidInput
from pactstream.events import results
from pactstream.events.model import SessionId, ToolName
from pactstream.events.parse import fault_detail, params_faults, strict_fault
from pactstream.pacts import CompiledPact, Severity, Verdict, Violation
from pactstream.preflight.wire import ReadAnswer, Reservation, Reserve
from pactstream.web import RateLimiter, Refused, require_json

MAX_TTL_SECONDS = 3_600
AGENT_PAUSED = "agent_paused"

_ENCODER = msgspec.json.Encoder(decimal_format="number")


class _Call(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    agent_id: UUID
    tool: ToolName
    params: msgspec.Raw
    version: Annotated[int, Meta(ge=1)] | None = None
    session_id: SessionId | None = None
    reserve: bool = False
    reservation_id: UUID | None = None
    ttl_seconds: Annotated[float, Meta(gt=0, le=MAX_TTL_SECONDS)] | None = None
    block_on: Severity | None = None


class _Answer(msgspec.Struct, rename="camel"):
    valid: bool
    validation: Verdict | msgspec.Raw
    as_of: str | UnsetType = UNSET
    reservation: Reservation | UnsetType | None = UNSET
    reason: str | UnsetType = UNSET


def router(access: Access, pacts: PactBook, evaluators: Evaluators, limiter: RateLimiter) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Pre-flight"], dependencies=[Security(one) for one in DOCUMENTED_KEY])

    may_ask = Depends(access.needs("preflight"))

    @routes.post(
        "/api/v1/pacts/{pactId}/validate-call",
        summary="Judge a call before it is made",
        response_class=Response,
        openapi_extra=documented.CALL_BODY,
        responses=documented.VERDICT_ANSWER,
    )
    async def validate_call(
        request: Request,
        pact_id: Annotated[UUID, Path(alias="pactId")],
        principal: Principal = may_ask,
    ) -> Response:
        """Nothing is recorded: the call itself is to be sent as an event, whatever the verdict.

        Windows and sequences are taken into account as of now. With `reserve`, what the call takes of budgets
        is held for it until its event carries the `reservationId`, until it is cancelled, or until `expiresAt`.
        The same request again, with the same `reservationId`, holds nothing more.
        """
        limiter.check(principal.key.key_id)
        require_json(request)
        call = _decode(await request.body())
        if _is_paused(principal, str(call.agent_id)):
            metrics.PREFLIGHTS.labels("paused").inc()
            return Response(_ENCODER.encode(_paused(str(pact_id), pacts)), media_type="application/json")
        compiled = _pact(call, str(pact_id), principal, pacts)
        answer, label = await _answered(evaluators, call, compiled, principal)
        metrics.PREFLIGHTS.labels(label).inc()
        return Response(_ENCODER.encode(answer), media_type="application/json")

    @routes.delete(
        "/api/v1/agents/{agentId}/reservations/{reservationId}",
        summary="Cancel a reservation",
        status_code=204,
        responses={
            404: documented.ERROR | {"description": "It was used, cancelled or has lapsed; or never was."}
        },
    )
    async def cancel(
        agent_id: Annotated[UUID, Path(alias="agentId")],
        reservation_id: Annotated[UUID, Path(alias="reservationId")],
        principal: Principal = may_ask,
    ) -> None:
        """What it holds is free again."""
        limiter.check(principal.key.key_id)
        tenant = principal.tenant
        if str(agent_id) not in tenant.agents:
            raise Refused(403, "the agent is not one of this tenant's")
        if not await evaluators.cancel(
            tenant_id=tenant.tenant_id, agent_id=str(agent_id), reservation_id=reservation_id
        ):
            raise Refused(404, "there is no such reservation: it was used, cancelled or has lapsed")

    return routes


def _is_paused(principal: Principal, agent_id: str) -> bool:
    agent = principal.tenant.agents.get(agent_id)
    return agent is not None and agent.status == "paused"


def _paused(pact_id: str, pacts: PactBook) -> _Answer:
    """No to every call, in a form that whoever blocks on any severity understands."""
    found = pacts.latest(pact_id)
    violation = Violation("", AGENT_PAUSED, "critical", None, "an active agent", "The agent is paused.")
    verdict = Verdict(
        False,
        True,
        pact_id,
        0 if found is None else found.version,
        "" if found is None else found.hash,
        "critical",
        (violation,),
    )
    return _Answer(False, verdict, reason=AGENT_PAUSED)


async def _answered(
    evaluators: Evaluators, call: _Call, compiled: CompiledPact, principal: Principal
) -> tuple[_Answer, str]:
    """The answer, and how it is counted. The evaluator is asked only where this process cannot know."""
    if not (compiled.looks_back(call.tool) or call.reserve):
        verdict = compiled.judge(call.tool, bytes(call.params))
        return _Answer(verdict.valid, verdict), metrics.verdict_label(verdict)
    found = await _asked(evaluators, call, compiled, principal)
    answer = _Answer(found.valid, found.validation, found.as_of, found.reservation)
    return answer, metrics.label(found.valid, found.bound, found.severity)


async def _asked(
    evaluators: Evaluators, call: _Call, compiled: CompiledPact, principal: Principal
) -> ReadAnswer:
    reserve = None
    if call.reserve:
        reserve = Reserve(str(call.reservation_id or ids.uuid7()), call.ttl_seconds, call.block_on)
    return await evaluators.ask(
        tenant_id=principal.tenant.tenant_id,
        agent_id=str(call.agent_id),
        pact_id=compiled.pact_id,
        pact_version=compiled.version,
        tool=call.tool,
        params=bytes(call.params),
        session_id=call.session_id,
        reserve=reserve,
    )


def _pact(call: _Call, pact_id: str, principal: Principal, pacts: PactBook) -> CompiledPact:
    agent_id = str(call.agent_id)
    try:
        check_agent(principal.tenant, agent_id)
        found, compiled = in_force(pacts, principal.tenant, pact_id, call.version)
        check_bound(found, agent_id)
    except Refusal as refusal:
        status = results.STATUS[refusal.code]
        raise Refused(status, str(refusal), [Detail(refusal.member, refusal.fault)]) from None
    return compiled


def _decode(body: bytes) -> _Call:
    fault = strict_fault(body)
    if fault is not None:
        raise InvalidInput("the body is not JSON", [Detail("", fault)])
    try:
        call = msgspec.json.decode(body, type=_Call)
    except msgspec.ValidationError as error:
        raise Refused(422, "the body is not valid", [fault_detail("", error)]) from None
    faults = list(params_faults(bytes(call.params), "params"))
    if not call.reserve:
        only = {"reservationId": call.reservation_id, "ttlSeconds": call.ttl_seconds, "blockOn": call.block_on}
        faults += [Detail(name, "means nothing without reserve") for name, value in only.items() if value]
    if faults:
        raise Refused(422, "the call cannot be judged", faults)
    return call
