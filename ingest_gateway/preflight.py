"""`POST /api/v1/pacts/{pactId}/validate-call`: the verdict before the call."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Path, Request, Response, Security
from msgspec import Meta

from ingest_gateway import documented, metrics, results
from ingest_gateway.access import DOCUMENTED_KEY, Access, Principal
from ingest_gateway.admission import Refusal, check_agent, check_bound, in_force
from ingest_gateway.telemetry import require_json
from pactstream.control.pacts import PactBook
from pactstream.errors import Detail, InvalidInput
from pactstream.events.model import ToolName
from pactstream.events.parse import fault_detail, params_faults, strict_fault
from pactstream.pacts import Verdict
from pactstream.web import RateLimiter, Refused

_ENCODER = msgspec.json.Encoder(decimal_format="number")


class _Call(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    agent_id: UUID
    tool: ToolName
    params: msgspec.Raw
    version: Annotated[int, Meta(ge=1)] | None = None


class _Answer(msgspec.Struct):
    valid: bool
    validation: Verdict


def router(access: Access, pacts: PactBook, limiter: RateLimiter) -> APIRouter:
    """The route."""
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
        """Nothing is recorded: the call itself is to be sent as an event, whatever the verdict."""
        limiter.check(principal.key.key_id)
        require_json(request)
        call = _decode(await request.body())
        verdict = _judge(call, str(pact_id), principal, pacts)
        metrics.PREFLIGHTS.labels(metrics.verdict_label(verdict)).inc()
        return Response(_ENCODER.encode(_Answer(verdict.valid, verdict)), media_type="application/json")

    return routes


def _judge(call: _Call, pact_id: str, principal: Principal, pacts: PactBook) -> Verdict:
    agent_id = str(call.agent_id)
    try:
        check_agent(principal.tenant, agent_id)
        found, compiled = in_force(pacts, principal.tenant, pact_id, call.version)
        check_bound(found, agent_id)
    except Refusal as refusal:
        status = results.STATUS[refusal.code]
        raise Refused(status, str(refusal), [Detail(refusal.member, refusal.fault)]) from None
    return compiled.judge(call.tool, bytes(call.params))


def _decode(body: bytes) -> _Call:
    fault = strict_fault(body)
    if fault is not None:
        raise InvalidInput("the body is not JSON", [Detail("", fault)])
    try:
        call = msgspec.json.decode(body, type=_Call)
    except msgspec.ValidationError as error:
        raise Refused(422, "the body is not valid", [fault_detail("", error)]) from None
    faults = list(params_faults(bytes(call.params), "params"))
    if faults:
        raise Refused(422, "the call cannot be judged", faults)
    return call
