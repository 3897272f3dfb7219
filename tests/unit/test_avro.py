"""The wire format, and what it refuses."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactstream import avro, avro_code
from pactstream.errors import Fatal, InvalidInput

CHAIN = {"sequence": 7, "head": bytes(range(32))}


def test_a_record_comes_back_and_names_its_schema() -> None:
    data = avro.encode("AgentChain", CHAIN)
    assert data[:5] == b"\0" + (5).to_bytes(4, "big")
    assert avro.decode(data) == ("AgentChain", CHAIN)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "wire format"),
        (b"", "wire format"),
        (b"\1\0\0\0\5", "wire format"),
        (b"\0\0\0\xff\xff", "schema id 65535"),
        (avro.encode("AgentChain", CHAIN)[:-1], "not a AgentChain"),
        (avro.encode("AgentChain", CHAIN) + b"x", "bytes follow"),
    ],
)
def test_other_bytes_are_refused(data: bytes | None, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        avro.decode(data)


def test_a_record_of_a_newer_program_stops_an_older_one_instead_of_being_lost() -> None:
    newest = avro.registered()[-1].id
    with pytest.raises(Fatal, match=rf"schema id {newest + 1}, this program knows ids up to {newest}"):
        avro.decode(b"\0" + (newest + 1).to_bytes(4, "big") + b"x")
    with pytest.raises(InvalidInput):
        avro.decode(b"\0" + (newest + 1_001).to_bytes(4, "big") + b"x")


def test_what_older_programs_must_read_is_written_in_their_version(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, object] = {"composite": None, "tier": None, "criticals": 1, "statuses": {}}
    event = {"type": "session_start", "event_id": "e", "session_id": "s", "occurred_at_micros": 1}
    batch = dict.fromkeys(("tenant_id", "tenant_pseudonym", "agent_id", "key_id", "request_id"), "x")
    record = {**batch, "received_at_micros": 2, "events": [event]}
    newest = avro.decode(avro.encode("TelemetryBatch", record))
    for ceiling, expected in ((13, 1), (14, 14), (15, 14), (16, 16)):
        monkeypatch.setenv("PACTSTREAM_WRITE_SCHEMAS_UP_TO", str(ceiling))
        avro._encoder.cache_clear()
        try:
            written = avro.encode("TelemetryBatch", record)
            # A record that the older programs do not know has no older version.
            assert int.from_bytes(avro.encode("Told", told)[1:5], "big") == 22
        finally:
            avro._encoder.cache_clear()
        assert int.from_bytes(written[1:5], "big") == expected
        assert avro.decode(written) == newest


def test_another_schema_than_expected_is_refused() -> None:
    with pytest.raises(InvalidInput, match="expected a Score, found a AgentChain"):
        avro.decode_as("Score", avro.encode("AgentChain", CHAIN))


def test_an_older_version_is_read_in_the_newest_shape() -> None:
    batches = [one for one in avro.registered() if one.name == "TelemetryBatch"]
    event = {"type": "session_start", "event_id": "e", "session_id": "s", "occurred_at_micros": 1}
    batch = dict.fromkeys(("tenant_id", "tenant_pseudonym", "agent_id", "key_id", "request_id"), "x")
    record = {**batch, "received_at_micros": 2, "events": [event]}
    newest = avro.decode(avro.encode("TelemetryBatch", record))
    for one in batches:
        pieces: list[bytes] = []
        avro_code.encoder(json.loads(one.text))(record, pieces.append)
        data = b"\0" + one.id.to_bytes(4, "big") + b"".join(pieces)
        assert avro.decode(data) == newest
        for wrong in (data[:-1], data + b"x"):
            with pytest.raises(InvalidInput):
                avro.decode(wrong)


def test_a_record_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not a AgentChain"):
        avro.encode("AgentChain", {"sequence": "seven", "head": bytes(32)})


@given(st.sampled_from([one.id for one in avro.registered()]), st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(schema_id: int, body: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        avro.decode(b"\0" + schema_id.to_bytes(4, "big") + body)
