"""The edge parser on arbitrary input: never an error of its own, one result for each event, in order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pactstream import avro
from pactstream.errors import InvalidInput
from pactstream.events import ToolCall, parse
from pactstream.events.avro_form import to_avro
from pactstream.events.parse import MAX_EVENTS, Accepted, Parsed, Rejected, parse_events
from pactstream.ids import derived_event_id
from pactstream.pacts import values

NOW = 1_790_000_000_000_000
GOOD = (
    '{"type":"tool_call","sessionId":"s-%d","agentId":"76cf31d6-ffe3-4a5c-8748-021114aa8066","tool":"t",'
    '"params":{"n":%d},"outcome":"success","attemptedAt":"2026-05-13T10:00:00Z"}'
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(st.characters(codec=None))
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
MEMBERS = ("type", "sessionId", "agentId", "tool", "params", "outcome", "attemptedAt", "metadata", "pactId")


def outcome(body: bytes) -> list[Parsed] | None:
    """The results, or None where the body as a whole is refused; any other error fails the test."""
    try:
        return parse_events(body, received_at_micros=NOW)
    except InvalidInput as error:
        return None if error.details else []


@given(st.binary(max_size=300))
@example(b'{"events":[' * 50)
@example(b'{"events":["\\')
@example(b'{"events":[{]}')
@example(b"\xef\xbb\xbf{}")
def test_arbitrary_bytes(body: bytes) -> None:
    outcome(body)
    outcome(b'{"events":[' + body + b"]}")


@given(st.text(alphabet='{}[],:"\\ \n0e-.NaItrufls\ud800é', max_size=120))
def test_nearly_json(text: str) -> None:
    body = text.encode("utf-8", "surrogatepass")
    outcome(body)
    outcome(b'{"events":[' + body + b"]}")


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(GOOD % (0, 0))
    for name in draw(st.lists(st.sampled_from(MEMBERS), max_size=3)):
        event[name] = draw(JSON)
    return event


@given(st.lists(st.none() | mutated() | JSON, min_size=1, max_size=8))
def test_every_event_has_one_result_in_its_place(events: list[Any]) -> None:
    # None stands for a good event, recognised by its number.
    texts = [GOOD % (at, at) if event is None else json.dumps(event) for at, event in enumerate(events)]
    results = outcome(('{"events":[' + ",".join(texts) + "]}").encode())
    assert results is not None
    assert len(results) == len(events)
    for at, (event, result) in enumerate(zip(events, results, strict=True)):
        if event is None:
            assert isinstance(result, Accepted)
            assert result.event.session_id == f"s-{at}"
        elif isinstance(result, Rejected):
            assert all(detail.path.startswith(f"events[{at}]") for detail in result.details)
        else:
            # What is accepted can be written.
            record = to_avro(result, event_id=derived_event_id("t", b"", at), pact_version=None)
            batch = dict.fromkeys(("tenant_id", "tenant_pseudonym", "agent_id", "key_id", "request_id"), "x")
            encoded = avro.encode("TelemetryBatch", batch | {"received_at_micros": NOW, "events": [record]})
            (decoded,) = avro.decode_as("TelemetryBatch", encoded)["events"]
            assert decoded == dict.fromkeys(decoded) | record


@given(
    st.integers(1, 6),
    st.sampled_from([b"NaN", b'"\\udc00"', b"[" * 300 + b"]" * 300, b'{"a":1,"a":1}', b"1e999"]),
)
def test_one_event_beyond_i_json_costs_no_other(count: int, poison: bytes) -> None:
    good = [(GOOD % (at, at)).encode() for at in range(count)]
    bad = (GOOD % (99, 99)).encode().replace(b'{"n":99}', b'{"n":' + poison + b"}")
    results = outcome(b'{"events":[' + b" ,\n".join([*good, bad, *good]) + b"]}")
    assert results is not None
    kinds = [type(one) for one in results]
    assert kinds[:count] == kinds[count + 1 :] == [Accepted] * count
    # An exponent is no fault of the syntax: the pact judges the number.
    assert kinds[count] is (Accepted if poison == b"1e999" else Rejected)


@given(st.integers(MAX_EVENTS + 1, 2_000), st.booleans())
def test_too_many_events_are_refused_together(count: int, clean: bool) -> None:
    body = b'{"events":[' + b",".join([b"1" if clean else b"NaN"] * count) + b"]}"
    assert outcome(body) is None


SPICE = (
    b"",
    b" ",
    b'"eventId":null,',
    b'"eventId":"0196d2a4-5f3e-7b1c-8a90-3c5d7e9f1b20",',
    b'"tool":"u",',
    b'"type":1,',
    b'"metadata":{"a":1,"a":2},',
    b'"metadata":{"\\u0022":1,"\\u0022":2,"k":"\\u0022"},',
    b'"metadata":{"a":"\\""},',
    b'"roomId":"a\\u0022",',
    b'"roomId":"a\\nb",',
    b'"roomId":"\x7f",',
    b'"sessionId":"s" , ',
    b'"latencyMs":1e400,',
    b'"metadata":{"n":' + b"9" * 5_000 + b"},",
    b'"roomId":"\xff",',
    b'"roomId":"\\ud800",',
    b'"roomId":"",',
    b'"attemptedAt":"2026-05-13T10:00:00+0200",',
    b'"attemptedAt":"2999-05-13T10:00:00Z",',
    b'"unknown":1,',
    b'"event\\u0049d":"0196d2a4-5f3e-7b1c-8a90-3c5d7e9f1b20",',
)
PARAMS = (
    b"{}",
    b'{"a":1}',
    b'{"a" : 1, "a":2}',
    b'{"a":{"b":1,"\\u0062":2}}',
    b'{"a":":"}',
    b'{"a":"\xff"}',
    b'{"\\ud800":1}',
    b"[]",
    b'""',
    b"1",
    b"null",
    b'{"a":1e99999999999999999999}',
    b'{"a":' + b"9" * 5_000 + b"}",
    b'{"a":NaN}',
    b'{"a":' * 31 + b"{}" + b"}" * 31,
    b'{"a":' * 32 + b"{}" + b"}" * 32,
    b'{"a":[' + b"[]," * 40 + b"[]]}",
    b'{"a":01}',
    b'{"a":"\\n\\u0022"}',
    b'{"a":' + b"[" * 300 + b"]" * 300 + b"}",
    b'{"a":"\x01"}',
    b"{" + b",".join(b'"%d":0' % n for n in range(128)) + b"}",
    b"{" + b",".join(b'"%d":0' % n for n in range(129)) + b"}",
)


@given(
    st.lists(
        st.tuples(st.sampled_from(SPICE), st.sampled_from(SPICE), st.sampled_from(PARAMS)),
        min_size=1,
        max_size=3,
    )
)
def test_reading_at_once_and_one_by_one_find_the_same(events: list[tuple[bytes, bytes, bytes]]) -> None:
    pieces = [
        (GOOD % (at, 7))
        .encode()
        .replace(b'{"type"', b"{" + first + second + b'"type"')
        .replace(b'{"n":7}', params)
        for at, (first, second, params) in enumerate(events)
    ]
    body = b'{"events":[' + b",".join(pieces) + b"]}"
    at_once = parse._at_once(body, NOW)
    one_by_one = parse._one_by_one(body, NOW)
    for quick, careful in zip(at_once or (), one_by_one, strict=at_once is not None):
        assert isinstance(quick, Accepted)
        assert quick._replace(params=None) == careful
        assert isinstance(quick.event, ToolCall)
        assert quick.params == values.decode(bytes(quick.event.params))


@pytest.mark.parametrize("params", PARAMS)
def test_only_what_is_right_is_read_at_once(params: bytes) -> None:
    body = b'{"events":[' + (GOOD % (1, 7)).encode().replace(b'{"n":7}', params) + b"]}"
    (careful,) = parse._one_by_one(body, NOW)
    if isinstance(careful, Rejected):
        assert parse._at_once(body, NOW) is None


def test_the_usual_is_read_at_once() -> None:
    body = json.dumps({"events": [json.loads(GOOD % (at, at)) for at in range(25)]}, indent=1).encode()
    at_once = parse._at_once(body.replace(b'"t"', b'"t\xc3\xa9"'), NOW)
    assert at_once is not None
    assert len(at_once) == 25
