"""Judged events as OpenTelemetry spans, what goes along with them, and how a collector is spoken to."""

from __future__ import annotations

import json
import re
import uuid
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from pydantic import SecretStr

from evaluator_worker.otlp.collector import Answer, Collector
from evaluator_worker.otlp.relay import MAX_REQUEST_BYTES, _requests
from evaluator_worker.otlp.sessions import Began, Sessions
from evaluator_worker.otlp.settings import OtlpSettings
from evaluator_worker.otlp.spans import Of, root_id, span_id, spans_of, trace_id
from ingest_gateway.otlp import mapping
from ingest_gateway.otlp import spans as read_spans
from pactstream.errors import Fatal, InvalidInput
from pactstream.genai import GENAI_VERSION
from pactstream.sdk.transport import NotNow
from tests.evaluator_tools import AGENT, PACT, call
from tests.otlp_peer import Judge, Reply, attributes, collecting, moment, partial, session
from tests.settings_table import PAGE

DOCS = PAGE.parent / "otlp.md"
BEGAN = 1_700_000_000_000_000
OF = Of("t", AGENT)
SECRET = "0xPRIVATE"


def response(**changes: Any) -> dict[str, Any]:
    return {
        "type": "response",
        "event_id": str(uuid.uuid4()),
        "session_id": "s-1",
        "occurred_at_micros": BEGAN + 900_000,
        "outcome": "success",
        "input": f"to {SECRET}",
        "output": "done",
        "token_count": 240,
        "latency_ms": 300.0,
        "metadata": b'{"model_version":"m-2","confidence":0.9,"provider":"acme"}',
    } | changes


def spans(*events: dict[str, Any], private: bool = False, sessions: Sessions | None = None) -> list[Span]:
    remembered = sessions or Sessions(100, 1)
    return spans_of(Judge().batch(*events), remembered, offset=7, private=private)


def test_a_session_is_a_trace() -> None:
    made = call(5_000, occurred_at_micros=BEGAN + 100_000, latency_ms=250.0)
    inner = call(1, parent_event_id=made["event_id"], occurred_at_micros=BEGAN + 200_000)
    events = session("s-1", made, inner, response())
    tool, child, chat, root = spans(*events)
    assert [one.name for one in (tool, child, chat, root)] == [
        "execute_tool transfer_funds",
        "execute_tool transfer_funds",
        "chat",
        "invoke_agent",
    ]
    assert {one.trace_id for one in (tool, child, chat, root)} == {trace_id(OF, "s-1")}
    assert root.span_id == root_id(OF, "s-1")
    assert (root.parent_span_id, tool.parent_span_id, chat.parent_span_id) == (b"", root.span_id, root.span_id)
    assert child.parent_span_id == tool.span_id == span_id(OF, made["event_id"])
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (BEGAN * 1_000, (BEGAN + 1_000_000) * 1_000)
    assert tool.end_time_unix_nano - tool.start_time_unix_nano == 250_000_000
    assert (chat.start_time_unix_nano, chat.end_time_unix_nano) == (
        (BEGAN + 600_000) * 1_000,
        (BEGAN + 900_000) * 1_000,
    )
    said = attributes(tool)
    assert said["gen_ai.operation.name"] == "execute_tool"
    assert (said["gen_ai.agent.id"], said["gen_ai.conversation.id"]) == (AGENT, "s-1")
    assert (said["pactstream.pact.id"], said["pactstream.pact.version"]) == (PACT, 1)
    assert (said["pactstream.verdict.bound"], said["pactstream.verdict.valid"]) == (True, False)
    assert said["pactstream.severity"] == "critical"
    assert said["pactstream.verdict.violations"] == ["critical valueRange amount"]
    assert attributes(child)["pactstream.verdict.valid"] is True
    assert (
        tool.status.code == Status.STATUS_CODE_UNSET
    )  # it did what it was told; that it may not is the verdict
    assert attributes(chat)["gen_ai.usage.total_tokens"] == 240
    assert attributes(chat)["gen_ai.response.finish_reasons"] == ["stop"]
    assert attributes(chat)["pactstream.confidence"] == 0.9


def test_the_same_record_gives_the_same_spans() -> None:
    batch = Judge().batch(*session("s-1", call()))
    first, second = (spans_of(batch, Sessions(9, 1), offset=1, private=False) for _ in range(2))
    assert [one.SerializeToString(deterministic=True) for one in first] == [
        one.SerializeToString(deterministic=True) for one in second
    ]


def test_ids_differ_by_tenant_agent_and_session() -> None:
    assert len({trace_id(Of(t, a), s) for t in "xy" for a in "xy" for s in "xy"}) == 8
    # No name runs into its neighbour's.
    assert trace_id(Of("a", "bc"), "d") != trace_id(Of("ab", "c"), "d")


def test_private_values_stay_here_unless_the_tenant_is_to_have_them() -> None:
    events = session("s-1", call(params=b'{"amount":1.10,"memo":"0xPRIVATE"}'), response())
    public = b"".join(one.SerializeToString() for one in spans(*events))
    assert SECRET.encode() not in public
    assert b"acme" not in public
    tool, chat, _ = spans(*events, private=True)
    assert json.loads(attributes(tool)["gen_ai.tool.call.arguments"]) == {"amount": 1.1, "memo": SECRET}
    assert attributes(chat)["gen_ai.input.messages"] == f"to {SECRET}"
    assert attributes(chat)["gen_ai.response.model"] == "m-2"
    assert attributes(chat)["gen_ai.provider.name"] == "acme"


def test_private_parameters_keep_their_digits() -> None:
    exact = b'{"amount":123456789012345678901234567890.5}'
    (tool,) = spans(call(params=exact), private=True)
    sent = json.loads(attributes(tool)["gen_ai.tool.call.arguments"], parse_float=Decimal)
    assert sent == {"amount": Decimal("123456789012345678901234567890.5")}
    (odd,) = spans(call(params=b'{"a":1,"a":2}'), private=True)
    assert attributes(odd)["gen_ai.tool.call.arguments"]


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        *(("tool_call", one) for one in ("success", "error", "denied", "refused")),
        *(("response", one) for one in ("success", "refusal", "partial", "error")),
        *(("session_end", one) for one in ("success", "failure", "aborted", "timeout")),
    ],
)
def test_what_goes_out_is_read_as_it_was(kind: str, outcome: str) -> None:
    """The gateway's own table, the other way: what it would take a span for."""
    made = {
        "tool_call": lambda: call(1, outcome=outcome, latency_ms=12.5, error_message="why"),
        "response": lambda: response(outcome=outcome),
        "session_end": lambda: moment("session_end", "s-1", BEGAN + 5, outcome) | {"reason": "why"},
    }[kind]()
    sent = spans(moment("session_start", "s-1", BEGAN), made, private=True)
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(sent)
    found = mapping.events_of(read_spans.from_protobuf(request.SerializeToString()), "t")
    assert found.unmapped == {}
    event = next(one for one in found.events if one["type"] == kind)
    assert (event["agentId"], event["sessionId"]) == (AGENT, "s-1")
    failed = "failure" if kind == "session_end" else "error"
    kept = outcome in ("success", "refusal", "partial")
    assert event["outcome"] == (outcome if kept else failed)
    if kind == "tool_call":
        assert (event["tool"], event["latencyMs"], event["pactId"]) == ("transfer_funds", 12.5, PACT)
        assert msgspec.json.decode(event["params"]) == {"amount": 1}
        assert event.get("errorMessage") == (None if kept else "why")
    elif kind == "response":
        assert (event["tokenCount"], event["input"], event["output"]) == (240, f"to {SECRET}", "done")
        assert event["metadata"]["model_version"] == "m-2"
    else:
        assert event.get("reason") == (None if kept else "why")


def test_a_session_whose_start_is_not_known_says_so() -> None:
    (root,) = spans(moment("session_end", "s-1", BEGAN, "aborted"))
    assert root.start_time_unix_nano == root.end_time_unix_nano == BEGAN * 1_000
    assert attributes(root)["pactstream.session.start_unknown"] is True
    assert attributes(root)["error.type"] == "aborted"
    (known, *_) = reversed(spans(*session("s-1")))
    assert "pactstream.session.start_unknown" not in attributes(known)


def test_events_that_are_no_spans_give_none_and_what_is_no_leaf_is_refused() -> None:
    batch = Judge().batch(call())
    other = json.loads(batch["events"][0]["leaf"]) | {"type": "erasure"}
    assert (
        spans_of(
            batch | {"events": [{"leaf": json.dumps(other).encode(), "private": None}]},
            Sessions(1, 1),
            offset=0,
            private=False,
        )
        == []
    )
    crossing = other | {"type": "tool_call.violation"}
    (span,) = spans_of(
        batch | {"events": [{"leaf": json.dumps(crossing).encode(), "private": None}]},
        Sessions(1, 1),
        offset=0,
        private=False,
    )
    assert (span.name, span.start_time_unix_nano) == ("tool_call.violation", span.end_time_unix_nano)
    with pytest.raises(InvalidInput):
        spans_of(
            batch | {"events": [{"leaf": b"{}", "private": None}]}, Sessions(1, 1), offset=0, private=False
        )


def test_what_is_remembered_of_sessions_is_bounded() -> None:
    hour = 3_600_000_000
    sessions = Sessions(2, 1)
    for number in range(3):
        sessions.began(bytes([number]), Began(number, offset=10 + number, arrived_micros=number))
    assert sessions.ended(b"\0") is None
    assert sessions.first_offset(hour) == 11
    assert sessions.first_offset(hour + 1) == 12
    assert sessions.ended(b"\1") is None
    assert sessions.ended(b"\2") == 2
    assert sessions.first_offset(0) is None


def test_requests_are_bounded() -> None:
    small = [Span(name=str(number)) for number in range(5)]
    assert [len(one) for one in _requests(small, 2)] == [2, 2, 1]
    large = [Span(name="x" * (MAX_REQUEST_BYTES // 3)) for _ in range(5)]
    assert [len(one) for one in _requests(large, 100)] == [2, 2, 1]
    assert list(_requests([], 2)) == []


NAMED = '{"name": "a", "endpoint": "https://c.example/v1/traces"%s}'


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("[]", "names no collector"),
        ("no JSON", "(whole): Invalid JSON"),
        ("[{}]", "0.name: Field required"),
        ("[" + NAMED % ', "s3cret": 1' + "]", "0.s3cret: Extra inputs"),
        ("[" + NAMED % "" + "," + NAMED % "" + "]", "one name"),
        ("[" + NAMED % ', "private": true' + "]", "private values are for tenants that are named"),
        ('[{"name": "a", "endpoint": "http://c.example"}]', 'or "insecure": true'),
        ('[{"name": "a b", "endpoint": "https://c.example"}]', "0.name: String should match"),
    ],
)
def test_destinations_that_are_wrong_are_refused_without_a_value(given: str, said: str) -> None:
    with pytest.raises(Fatal, match=r"^PACTSTREAM_OTLP_DESTINATIONS") as refused:
        OtlpSettings(otlp_destinations=SecretStr(given)).destinations()
    assert said in str(refused.value)


def test_destinations() -> None:
    tenant = "11111111-1111-4111-8111-111111111111"
    more = f', "tenants": ["{tenant}"], "private": true, "headers": {{"authorization": "Bearer s3cret"}}'
    (one,) = OtlpSettings(otlp_destinations=SecretStr("[" + NAMED % more + "]")).destinations()
    assert [str(each) for each in one.tenants] == [tenant]
    assert "s3cret" not in repr(one)


def test_a_request_is_otlp() -> None:
    with collecting() as peer:
        collector = Collector(peer.url, {"authorization": "Bearer x"}, "here.example", seconds=5, ca=None)
        assert collector.export(spans(call())) == Answer()
        collector.close()
    (headers,) = peer.headers
    assert (headers["content-type"], headers["content-encoding"]) == ("application/x-protobuf", "gzip")
    assert headers["authorization"] == "Bearer x"
    (resource,) = peer.requests[0].resource_spans
    assert resource.schema_url == f"https://opentelemetry.io/schemas/{GENAI_VERSION}"
    assert {one.key: one.value.string_value for one in resource.resource.attributes} == {
        "service.name": "pactstream",
        "service.namespace": "here.example",
    }


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (partial(1, "too old"), Answer(rejected=1, reason="too old")),
        (Reply(200, b"\xff no protobuf"), Answer()),
        (Reply(200, b"\0" * 200_000), Answer()),
        (Reply(400), Answer(refused=True, reason="it answered 400 Bad Request")),
        (Reply(500), Answer(refused=True, reason="it answered 500 Internal Server Error")),
    ],
)
def test_answers_that_are_final(reply: Reply, answer: Answer) -> None:
    with collecting() as peer:
        collector = Collector(peer.url, {}, "here.example", seconds=5, ca=None)
        peer.replies.append(reply)
        assert collector.export(spans(call())) == answer
        assert collector.export(spans(call())) == Answer()  # and the connection is fit for the next
        collector.close()


@pytest.mark.parametrize("status", [429, 502, 503, 504, 401, 403, 404, 302])
def test_answers_that_ask_to_wait(status: int) -> None:
    with collecting() as peer:
        collector = Collector(peer.url, {}, "here.example", seconds=5, ca=None)
        peer.replies.append(Reply(status, headers={"Retry-After": "7", "Location": peer.url}))
        with pytest.raises(NotNow) as waits:
            collector.export(spans(call()))
        collector.close()
    assert waits.value.retry_after_seconds == (7 if status in (429, 502, 503, 504) else None)
    assert waits.value.suspicious == (status not in (429, 502, 503, 504))
    assert len(peer.requests) == 1


def test_the_page_names_every_attribute() -> None:
    text = DOCS.read_text(encoding="utf-8")
    events = [
        *session("s-1", call(5_000, outcome="error", room_id="r", latency_ms=1.0), response()),
        moment("session_end", "s-2", BEGAN, "failure"),
    ]
    names = {name for one in spans(*events, private=True) for name in attributes(one)}
    section = text[text.index("## Out") :]
    assert [name for name in sorted(names) if f"`{name}`" not in section] == []
    documented = set(re.findall(r"^\| `((?:gen_ai|pactstream|error)\.[a-z_.]+)`", section, re.MULTILINE))
    assert documented - names <= {"gen_ai.tool.call.id"}
