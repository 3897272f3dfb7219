"""A leaf: the public view of one event, as RFC 8785 JSON, linked to its agent's previous leaf.

Private values never stand in a leaf. Each is replaced by a commitment, SHA-256(salt ‖ value bytes), with a
fresh 16-byte salt; the salt and the value (together: the opening) are kept apart, so that erasing them leaves
every hash and every proof as it was, and disclosing one reveals that one only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Raw

from pactstream import canonical, clock
from pactstream.canonical import MAX_SAFE_INTEGER, value_bytes
from pactstream.errors import InvalidInput
from pactstream.ledger import merkle
from pactstream.ledger.openings import SALT_BYTES, Salts, Secrets

if TYPE_CHECKING:
    from pactstream.pacts.verdict import Verdict

MAX_LEAF_BYTES = 65_535
"""What an entry of a C2SP tlog-tiles bundle can hold."""
MAX_CONTRIBUTING = 100
"""A leaf lists so many of the calls behind a `tool_call.violation`."""
MAX_ATTESTATION_CHARS = 8_192
MAX_LISTED_VIOLATIONS = 100
"""A leaf lists these and counts the rest in `verdict.omitted`."""
MAX_LISTED_BYTES = 14_000
"""As long as their paths have no more bytes in all; see `events.public_size` for what else is in a leaf."""

Hex32 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Time = Annotated[str, Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z\Z")]
Count = Annotated[int, Meta(ge=0, le=MAX_SAFE_INTEGER)]
Ordinal = Annotated[int, Meta(ge=1, le=MAX_SAFE_INTEGER)]


class LeafError(InvalidInput):
    """Bytes that are no leaf, or an event that cannot become one."""


class AgentHead(NamedTuple):
    """The end of one agent's chain: the sequence number and the RFC 6962 hash of its latest leaf."""

    sequence: int
    leaf_hash: bytes


GENESIS = AgentHead(0, bytes(merkle.HASH_BYTES))
"""The head of an agent without leaves."""

# `_check_forms` looks at all ids, hashes and times of a leaf together: patterns here would double its cost.
_Uuid = Annotated[str, Meta(min_length=36, max_length=36)]
_Hash = Annotated[str, Meta(min_length=64, max_length=64)]
_Time = Annotated[str, Meta(min_length=27, max_length=27)]

# In each struct below the fields stand in the order of their encoded names: msgspec then writes RFC 8785 order
# without sorting (a test checks it).


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Where an event came in: the Kafka record, and the event's index in that record's batch."""

    index: Count
    offset: Count
    partition: Count
    topic: str


class PactRef(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False, omit_defaults=True, kw_only=True
):
    """The pact an event names; version and content hash stand with a verdict."""

    hash: _Hash | None = None
    id: _Uuid
    version: Ordinal | None = None


class LeafViolation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """A violation without its value: that is committed to as `violations.<i>.value`."""

    param_path: str
    rule: str
    severity: str


class LeafVerdict(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    gc=False,
    rename="camel",
    omit_defaults=True,
    kw_only=True,
):
    """How the event was judged; `omitted` counts the violations beyond `MAX_LISTED_VIOLATIONS`."""

    bound: bool
    omitted: Count = 0
    severity: str | None = None
    valid: bool
    violations: tuple[LeafViolation, ...]


class Contributing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """The calls behind a `tool_call.violation`: how many, and the ids of the first of them."""

    calls: Ordinal
    event_ids: Annotated[tuple[_Uuid, ...], Meta(max_length=MAX_CONTRIBUTING)]


class LeafObjectives(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    gc=False,
    rename="camel",
    omit_defaults=True,
    kw_only=True,
):
    """What the pact in force aims at, where it bears on this event; `model`: how the stated one compares."""

    latency_p95_ms: Ordinal | None = None
    model: Literal["allowed", "other", "unstated"] | None = None
    tokens_per_session: Ordinal | None = None


class Leaf(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    gc=False,
    rename="camel",
    omit_defaults=True,
    kw_only=True,
):
    """One event in the ledger. Null fields are absent; times are RFC 3339, UTC, microseconds.

    `severity` stands where it is graver than the verdict's: a call that ended in an error is a `warning` at
    least. `contributing` stands in the events that the evaluator adds itself. `confidence` is what the agent
    stated, in per cent; `attestation` a third party's signed statement, a compact JWS.
    """

    agent_id: _Uuid
    attestation: Annotated[str, Meta(max_length=MAX_ATTESTATION_CHARS)] | None = None
    commitments: dict[str, _Hash] = msgspec.field(default_factory=dict)
    confidence: Annotated[int, Meta(ge=0, le=100)] | None = None
    contributing: Contributing | None = None
    event_id: _Uuid
    latency_ms: Count | Annotated[float, Meta(ge=0)] | None = None
    objectives: LeafObjectives | None = None
    occurred_at: _Time
    outcome: str | None = None
    pact: PactRef | None = None
    parent_event_id: _Uuid | None = None
    previous: _Hash
    received_at: _Time
    room_id: str | None = None
    sequence: Ordinal
    session_id: str
    severity: str | None = None
    source: Source
    tenant: str
    token_count: Count | None = None
    tool: str | None = None
    type: Annotated[str, Meta(min_length=1)]
    v: Literal[1]
    verdict: LeafVerdict | None = None


class BuiltLeaf(NamedTuple):
    """A new leaf, the openings of its commitments as JSON (None without any), and the agent's new head."""

    leaf: bytes
    private: bytes | None
    head: AgentHead


def build_leaf(
    event: Mapping[str, Any],
    verdict: Verdict | None,
    *,
    agent_id: str,
    tenant: str,
    received_at: str,
    source: Source,
    head: AgentHead,
    contributing: Contributing | None = None,
    confidence: int | None = None,
    objectives: LeafObjectives | None = None,
    salts: Salts | None = None,
) -> BuiltLeaf:
    """The leaf of an event, the agent's next after `head`.

    `event` is a decoded Avro `TelemetryEvent`; `tenant` the pseudonym; `received_at` the batch's arrival as
    `clock.to_iso` gives it. Salts are random, so two calls give two leaves; who builds many passes `salts`.
    Raises `LeafError` when the event has none: a number out of range, over `MAX_LEAF_BYTES`, malformed text.
    """
    try:
        secrets = _secrets(event, verdict)
        sealed = secrets.seal(salts or Salts(at_once=0)) if secrets else None
        sequence = head.sequence + 1
        leaf = _new_leaf(
            agent_id=agent_id,
            attestation=event.get("attestation"),
            commitments=_NO_COMMITMENTS if sealed is None else Raw(sealed.commitments),
            confidence=confidence,
            contributing=contributing,
            event_id=event["event_id"],
            latency_ms=_latency(event["latency_ms"]),
            objectives=objectives,
            occurred_at=clock.to_iso(event["occurred_at_micros"]),
            outcome=event["outcome"],
            pact=_pact(event, verdict),
            parent_event_id=event["parent_event_id"],
            previous=head.leaf_hash.hex(),
            received_at=received_at,
            room_id=event["room_id"],
            sequence=sequence,
            session_id=event["session_id"],
            severity=_severity(event, verdict),
            source=source,
            tenant=tenant,
            token_count=_token_count(event["token_count"]),
            tool=event["tool"],
            type=event["type"],
            v=1,
            verdict=None if verdict is None else _verdict(verdict),
        )
        data = _encode_leaf(leaf)
    except (InvalidInput, OverflowError, ValueError) as error:  # a lone surrogate, a year above 9999
        raise LeafError(f"event {event['event_id']} has no leaf: {error}") from error
    if len(data) > MAX_LEAF_BYTES:
        raise LeafError(f"event {event['event_id']}: a leaf of {len(data)} bytes, at most {MAX_LEAF_BYTES}")
    private = None if sealed is None else sealed.private
    return BuiltLeaf(data, private, AgentHead(sequence, merkle.leaf_hash(data)))


def encode_leaf(leaf: Leaf) -> bytes:
    """The leaf's RFC 8785 bytes. Raises `InvalidInput` when a text or number has none."""
    # Field order makes msgspec's output canonical, except for keys beyond ASCII and for some floats.
    if _is_plain(leaf.latency_ms):
        data = _encode_leaf(leaf)
        if data.isascii() or "".join(leaf.commitments).isascii():
            return data
    return canonical.dumps(msgspec.to_builtins(leaf))


def parse_leaf(data: bytes) -> Leaf:
    """The leaf in `data`. Raises `LeafError` unless `data` is exactly the canonical form of a leaf."""
    try:
        leaf = _decode_leaf(data)
        _check_forms(leaf)
        canonical_form = encode_leaf(leaf)
    except (msgspec.DecodeError, InvalidInput, UnicodeError, RecursionError) as error:
        raise LeafError(f"not a leaf: {error}") from error
    if canonical_form != data:
        raise LeafError("not a leaf: the JSON is not in canonical form")
    return leaf


def _is_plain(latency: float | None) -> bool:
    """Whether msgspec writes it as ECMAScript does: in this range both write the shortest decimal fraction."""
    if latency is None or type(latency) is int:
        return True
    return _LEAST_PLAIN <= latency < _MOST_PLAIN and not latency.is_integer()


def _check_forms(leaf: Leaf) -> None:
    """Check the ids, hashes and times, whose lengths are right already. Raises `LeafError`."""
    ids = leaf.agent_id + leaf.event_id + (leaf.parent_event_id or "")
    hashes = leaf.previous + "".join(leaf.commitments.values())
    if leaf.pact is not None:
        ids += leaf.pact.id
        hashes += leaf.pact.hash or ""
    if leaf.contributing is not None:
        ids += "".join(leaf.contributing.event_ids)
    times = leaf.occurred_at + leaf.received_at
    # Each has its fixed length, so together they fit if and only if each one does. Tables of bytes take a fifth
    # of what regular expressions do.
    if ids.encode().translate(_HEX_TO_0) != _UUID_OF_0 * (len(ids) // len(_UUID_OF_0)):
        raise LeafError("an id is no UUID in lower case")
    if hashes.encode().translate(None, _HEX):
        raise LeafError("a hash is not in lower-case hexadecimal")
    if times.encode().translate(_DIGITS_TO_0) != _TIME_OF_0 * 2:
        raise LeafError("a time is not UTC with six decimals")


def agent_link(leaf: Leaf, head: AgentHead) -> str | None:
    """What is wrong with `leaf` as the next of the agent whose chain ends at `head`; None when it follows."""
    if leaf.sequence != head.sequence + 1:
        return f"its sequence number is {leaf.sequence}, after {head.sequence}"
    if leaf.previous != head.leaf_hash.hex():
        return f"it does not link to the agent's leaf {head.sequence}"
    return None


def commitment(salt: bytes, value: object) -> str:
    """The hexadecimal commitment to `value`. Raises `InvalidInput` when the value is not JSON."""
    return sha256(salt + value_bytes(value)).hexdigest()


def verify_disclosure(leaf: Leaf, field: str, salt: bytes, value: object) -> None:
    """Check that `value` (as `canonical.parse_exact` reads it) is what the leaf commits to in `field`.

    Raises `LeafError` unless it is: no such field, a salt of another length, another value.
    """
    committed = leaf.commitments.get(field)
    if committed is None:
        raise LeafError(f"the leaf has no commitment to {field!r}")
    # With salts of free length, bytes could move between salt and value and one commitment open twice.
    if len(salt) != SALT_BYTES:
        raise LeafError(f"a salt is {SALT_BYTES} bytes long")
    if commitment(salt, value) != committed:
        raise LeafError(f"the value is not what the leaf commits to in {field!r}")


_LEAST_PLAIN, _MOST_PLAIN = 1e-3, 1e15
_HEX = b"0123456789abcdef"
_HEX_TO_0 = bytes.maketrans(_HEX, b"0" * 16)
_DIGITS_TO_0 = bytes.maketrans(_HEX[:10], b"0" * 10)
_UUID_OF_0 = b"00000000-0000-0000-0000-000000000000"
_TIME_OF_0 = b"0000-00-00T00:00:00.000000Z"
_encode = msgspec.json.Encoder().encode
_encode_leaf = msgspec.json.Encoder(order="deterministic").encode  # sorts the keys of `commitments`
_decode_leaf = msgspec.json.Decoder(Leaf).decode
# A new leaf holds as `Raw` what would not be written canonically, or is the same for many.
_new_leaf: Callable[..., Leaf] = Leaf
_NO_COMMITMENTS: dict[str, str] = {}

_TEXT_FIELDS = (  # of the event, and of the leaf
    ("input", "input"),
    ("output", "output"),
    ("error_message", "errorMessage"),
    ("reason", "reason"),
)


def _secrets(event: Mapping[str, Any], verdict: Verdict | None) -> Secrets:
    """Every value of an event that must not be public."""
    secrets = Secrets()
    if (params := event["params"]) is not None:
        secrets.add_object("params", params)
    if (metadata := event["metadata"]) is not None:
        secrets.add_object("metadata", metadata)
    for field, name in _TEXT_FIELDS:
        if (text := event[field]) is not None:
            secrets.add(name, text)
    if verdict is not None and verdict.violations:
        for index, violation in enumerate(verdict.violations[: len(_listed(verdict))]):
            if violation.value is not None:
                secrets.add_or_text(f"violations.{index}.value", violation.value)
    return secrets


def _latency(milliseconds: float | None) -> int | Raw | None:
    """As RFC 8785 writes it: an int when integral."""
    if milliseconds is None:
        return None
    if not 0 <= milliseconds <= MAX_SAFE_INTEGER:  # NaN too
        raise LeafError("its latency is out of range")
    return int(milliseconds) if milliseconds.is_integer() else Raw(canonical.dumps(milliseconds))


def _severity(event: Mapping[str, Any], verdict: Verdict | None) -> str | None:
    """`warning` for a call that ended in an error, unless its verdict is graver and says so itself."""
    if event["type"] != "tool_call" or event["outcome"] != "error":
        return None
    return "warning" if verdict is None or verdict.severity in (None, "info") else None


def _token_count(tokens: int | None) -> int | None:
    if tokens is not None and not 0 <= tokens <= MAX_SAFE_INTEGER:
        raise LeafError("its token count is out of range")
    return tokens


def _pact(event: Mapping[str, Any], verdict: Verdict | None) -> Raw | None:
    pact_id = event["pact_id"]
    if pact_id is None:
        return None
    if verdict is None:
        return _pact_ref(pact_id, event["pact_version"], None)
    return _pact_ref(pact_id, verdict.pact_version, verdict.pact_hash)


@lru_cache(maxsize=1024)  # few pacts, many events
def _pact_ref(pact_id: str, version: int | None, pact_hash: str | None) -> Raw:
    return Raw(_encode(PactRef(id=pact_id, version=version, hash=pact_hash)))


def _verdict(verdict: Verdict) -> LeafVerdict | Raw:
    if not verdict.violations:
        return _clean_verdict(verdict.bound, verdict.severity, verdict.valid)
    listed = _listed(verdict)
    return LeafVerdict(
        bound=verdict.bound,
        omitted=len(verdict.violations) - len(listed),
        severity=verdict.severity,
        valid=verdict.valid,
        violations=listed,
    )


def _listed(verdict: Verdict) -> tuple[LeafViolation, ...]:
    """The first violations, as many as a leaf has room for."""
    listed = []
    room = MAX_LISTED_BYTES
    for one in verdict.violations[:MAX_LISTED_VIOLATIONS]:
        violation = LeafViolation(one.param_path, one.rule, one.severity)
        room -= len(_encode(violation))
        if room < 0:
            break
        listed.append(violation)
    return tuple(listed)


@lru_cache(maxsize=32)
def _clean_verdict(bound: bool, severity: str | None, valid: bool) -> Raw:
    return Raw(_encode(LeafVerdict(bound=bound, severity=severity, valid=valid, violations=())))
