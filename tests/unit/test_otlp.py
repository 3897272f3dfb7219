"""OpenTelemetry's traces as events: real SDK spans in both encodings, OpenInference's names, refusals."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from ingest_gateway.otlp import mapping, spans
from pactstream import genai
from pactstream.errors import InvalidInput
from tests.gateway_tools import ATLAS, TREASURY, TestGateway, make_gateway
from tests.otlp_tools import JSON, PROTOBUF, Recorder, agent_run, failing_tool
from tests.settings_table import PAGE

PATH = "/v1/traces"
DOCS = PAGE.parent / "otlp.md"


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> TestGateway:
    return make_gateway(monkeypatch)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def partial(content: bytes) -> tuple[int, str]:
    answer = ExportTraceServiceResponse.FromString(content).partial_success
    return answer.rejected_spans, answer.error_message


def test_a_run_of_an_agent_is_a_session_with_its_calls(gateway: TestGateway, recorder: Recorder) -> None:
    agent_run(recorder.tracer)
    answer = gateway.ask("POST", PATH, content=recorder.protobuf(), headers=PROTOBUF)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-protobuf")
    assert partial(answer.content) == (0, "")
    call, response, start, end = gateway.publisher.events
    assert [one["type"] for one in (start, call, response, end)] == [
        "session_start",
        "tool_call",
        "response",
        "session_end",
    ]
    assert {one["session_id"] for one in gateway.publisher.events} == {"conv-7"}
    assert {one["pact_id"] for one in gateway.publisher.events} == {TREASURY}
    assert call["tool"] == "transfer_funds"
    assert msgspec.json.decode(call["params"]) == {"destination": "0xA11A", "amount": 250, "currency": "USDC"}
    assert (call["outcome"], end["outcome"], response["outcome"]) == ("success", "success", "success")
    assert response["token_count"] == 240
    assert start["occurred_at_micros"] <= call["occurred_at_micros"] <= end["occurred_at_micros"]


def test_json_says_the_same_as_protobuf(recorder: Recorder) -> None:
    agent_run(recorder.tracer)
    failing_tool(recorder.tracer)
    assert spans.from_json(recorder.json()) == spans.from_protobuf(recorder.protobuf())


def test_json_is_answered_in_json(gateway: TestGateway, recorder: Recorder) -> None:
    agent_run(recorder.tracer)
    with recorder.tracer.start_as_current_span("GET /"):
        pass
    answer = gateway.ask("POST", PATH, content=recorder.json(), headers=JSON)
    said = "1: neither gen_ai.operation.name nor openinference.span.kind names an agent, a tool or a model call"
    assert answer.json() == {"partialSuccess": {"rejectedSpans": "1", "errorMessage": said}}
    assert len(gateway.publisher.events) == 4


def test_a_request_sent_again_names_the_same_events(gateway: TestGateway, recorder: Recorder) -> None:
    agent_run(recorder.tracer)
    for _ in range(2):
        packed = gzip.compress(recorder.protobuf())
        gateway.ask("POST", PATH, content=packed, headers={**PROTOBUF, "Content-Encoding": "gzip"})
    ids = [one["event_id"] for one in gateway.publisher.events]
    assert ids[:4] == ids[4:]
    assert len(set(ids)) == 4


def test_openinference_and_failures(gateway: TestGateway, recorder: Recorder) -> None:
    failing_tool(recorder.tracer)
    gateway.ask("POST", PATH, content=recorder.protobuf(), headers=PROTOBUF)
    (call,) = gateway.publisher.events
    assert (call["session_id"], call["outcome"]) == ("oi-1", "error")
    assert call["error_message"] == "the bank said no"
    assert call["inline_digest"] != 1  # judged, and not valid


def test_parameters_keep_their_digits() -> None:
    exact = '{"amount": 0.10000000000000000000000001}'
    (event,) = mapped({"gen_ai.tool.call.arguments": exact}).events
    assert bytes(event["params"]).decode() == exact


@pytest.mark.parametrize("given", ["not JSON", "[1]", '"text"', 7, ["a"]])
def test_parameters_that_are_no_object_stand_under_one_name(given: Any) -> None:
    (event,) = mapped({"gen_ai.tool.call.arguments": given}).events
    assert msgspec.json.decode(event["params"]) == {"arguments": given}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"attributes": {}}, "not_genai"),
        ({"attributes": {"gen_ai.operation.name": "embeddings"}}, "not_genai"),
        ({"resource": {}}, "no_agent"),
        ({"attributes": {"gen_ai.operation.name": "execute_tool"}}, "no_tool"),
        ({"trace_id": ""}, "bad_ids"),
        ({"span_id": ""}, "bad_ids"),
        ({"start_nanos": 0}, "bad_times"),
        ({"end_nanos": 1}, "bad_times"),
    ],
)
def test_a_span_that_gives_no_event_says_why(changes: dict[str, Any], reason: mapping.Reason) -> None:
    found = mapping.events_of([span()._replace(**changes)], "t")
    assert (found.events, found.unmapped) == ([], {reason: 1})
    assert mapping.SAYS[reason]


def test_what_is_refused_is_counted_with_the_reason(gateway: TestGateway) -> None:
    stranger = Recorder({"gen_ai.agent.id": "bbbbbbbb-0000-4000-8000-000000000001"})
    agent_run(stranger.tracer)
    unknown = Recorder({"gen_ai.agent.id": "Atlas"})
    failing_tool(unknown.tracer)
    for one, count, said in ((stranger, 4, "not one of this tenant's"), (unknown, 1, "agentId")):
        answer = gateway.ask("POST", PATH, content=one.protobuf(), headers=PROTOBUF)
        assert answer.status_code == 200
        rejected, message = partial(answer.content)
        assert rejected == count
        assert said in message
    assert gateway.publisher.events == []


def test_more_than_one_batch(gateway: TestGateway, recorder: Recorder) -> None:
    for _ in range(501):
        failing_tool(recorder.tracer)
    answer = gateway.ask("POST", PATH, content=recorder.protobuf(), headers=PROTOBUF)
    assert partial(answer.content) == (0, "")
    assert [len(batch["events"]) for batch in gateway.publisher.batches] == [500, 1]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"\xff\xff", PROTOBUF, 400),
        (b"{", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b'{"resourceSpans": 7}', JSON, 400),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"x"}]}]}]}', JSON, 400),
        (b"", {"Content-Type": "text/plain"}, 415),
    ],
)
def test_no_trace_request(gateway: TestGateway, content: bytes, headers: dict[str, str], status: int) -> None:
    assert gateway.ask("POST", PATH, content=content, headers=headers).status_code == status


def test_who_may_send(gateway: TestGateway) -> None:
    assert gateway.ask("POST", PATH, key=None, headers=PROTOBUF).status_code == 401
    assert gateway.ask("POST", PATH, key=gateway.new_key("pacts:read"), headers=PROTOBUF).status_code == 403
    assert gateway.ask("POST", PATH, headers=PROTOBUF).status_code == 200  # an empty request has no spans
    assert gateway.ask("GET", PATH).status_code == 405


def test_it_is_on_the_openapi_page(gateway: TestGateway) -> None:
    described = gateway.send("GET", "/openapi.json").json()["paths"][PATH]["post"]
    assert set(described["requestBody"]["content"]) == {"application/x-protobuf", "application/json"}


def test_the_page_shows_the_table() -> None:
    text = DOCS.read_text()
    assert genai.GENAI_VERSION in text
    for key, value in mapping.SHAPES:
        assert f"`{key}` = `{value}`" in text
    for table in (genai.NAMES, genai.METADATA):
        for member, places in table.items():
            assert f"| `{member}` | {', '.join(f'`{place}`' for place in places)} |" in text


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_are_spans_or_our_error(content: bytes) -> None:
    for read in (spans.from_protobuf, spans.from_json):
        quiet(read, content)


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
names = st.sampled_from(
    [name for table in (genai.NAMES, genai.METADATA) for one in table.values() for name in one]
)
attributes = st.dictionaries(names, scalars | st.lists(scalars, max_size=2), max_size=6)


@given(st.sampled_from(list(mapping.SHAPES)), attributes)
def test_any_attributes_give_events_that_can_be_written_or_a_reason(
    shape: tuple[str, str], said: dict[str, Any]
) -> None:
    found = mapping.events_of([span()._replace(attributes={shape[0]: shape[1], **said})], "t")
    assert bool(found.events) != bool(found.unmapped)
    msgspec.json.encode(found.events)


def quiet(read: Callable[[bytes], object], content: bytes) -> None:
    try:
        read(content)
    except InvalidInput:
        return


def span() -> spans.Span:
    said = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t"}
    return spans.Span(
        "a" * 32, "b" * 16, "", "n", 10**18, 10**18 + 5, False, "", said, {"gen_ai.agent.id": ATLAS}
    )


def mapped(said: dict[str, Any]) -> mapping.Mapped:
    return mapping.events_of([span()._replace(attributes={**span().attributes, **said})], "t")


def test_an_empty_request_is_one() -> None:
    assert spans.from_protobuf(ExportTraceServiceRequest().SerializeToString()) == []
    assert spans.from_json(b"{}") == []
