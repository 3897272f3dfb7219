"""Writes `sdk/vectors`, which keep the Python and the TypeScript SDK in step: `python -m tests.sdk_vectors`.

Every file but `reports.json` is a function of the code: `tests/contract/test_sdk_vectors.py` makes it again and
compares. Reports carry ECDSA signatures, which are random, so they are made once and checked instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from tenacity import RetryCallState

from pactstream import canonical, clock, ids
from pactstream.errors import InvalidInput
from pactstream.ledger import merkle
from pactstream.ledger.log_keys import LogKey, parse_keys
from pactstream.ledger.note import Checkpoint, NoteError, open_checkpoint, sign_checkpoint
from pactstream.sdk import Telemetry
from pactstream.sdk.config import Secret
from pactstream.sdk.reports import Reports
from pactstream.sdk.sender import Sender
from pactstream.sdk.transport import DeliveryFailed, NotNow, Transport, retry_after_seconds
from tests import report_vectors
from tests.cosignature_vectors import cosignatures
from tests.published_ledger import signer_of
from tests.report_vectors import NOW
from tests.sdk_gateway import AGENT, PACT, answer, serving

FOLDER: Final = Path(__file__).parents[1] / "sdk" / "vectors"
ORIGIN: Final = "dev/ledger/0"
AT = "2026-05-13T10:00:00.000000Z"
OTHER_AGENT = "0196c9a4-0000-7000-8000-000000000001"

EVENTS: Final[list[dict[str, Any]]] = [
    {
        "name": "the opening of a session",
        "call": "sessionStart",
        "arguments": {"startedAt": AT, "sessionId": "s-1"},
    },
    {
        "name": "a call under a pact",
        "call": "toolCall",
        "arguments": {
            "sessionId": "s-1",
            "tool": "transfer_funds",
            "params": {
                "destination": "0xA11A",
                "amount": 250.5,
                "memo": "Mai – Größe €",
                "tags": ["a", None, True],
            },
            "outcome": "success",
            "attemptedAt": AT,
            "latencyMs": 142.125,
            "pactId": PACT,
            "roomId": "room-1",
            "parentEventId": "0196d2a4-5f3e-7b1c-8a90-3c5d7e9f1b20",
            "metadata": {
                "model_version": "m-2",
                "confidence": 0.9,
                "retries": 2,
                "cached": False,
                "note": None,
            },
        },
    },
    {
        "name": "a call that failed, with a hold, of another agent",
        "call": "toolCall",
        "arguments": {
            "sessionId": "s-1",
            "agentId": OTHER_AGENT,
            "tool": "search",
            "params": {},
            "outcome": "error",
            "errorMessage": "TimeoutError: no answer",
            "reservationId": "0196d2a4-5f3e-7b1c-8a90-3c5d7e9f1b21",
            "attemptedAt": "2026-05-13T12:00:00.250000+02:00",
        },
    },
    {
        "name": "a response",
        "call": "response",
        "arguments": {
            "sessionId": "s-1",
            "input": "Settle the May invoice.",
            "output": "line\nline \u2028 \U0001f600",
            "outcome": "partial",
            "emittedAt": AT,
            "tokenCount": 17,
        },
    },
    {
        "name": "the end of a session",
        "call": "sessionEnd",
        "arguments": {
            "sessionId": "s-1",
            "outcome": "aborted",
            "reason": "the treasurer said no",
            "endedAt": AT,
        },
    },
    {
        "name": "an unknown outcome is not recorded",
        "call": "sessionEnd",
        "arguments": {"sessionId": "s-1", "outcome": "fine", "endedAt": AT},
    },
    {
        "name": "a pact that is no UUID is not recorded",
        "call": "toolCall",
        "arguments": {
            "tool": "search",
            "params": {},
            "outcome": "success",
            "attemptedAt": AT,
            "pactId": "treasury",
        },
    },
    {
        "name": "a tool's name with a control character is not recorded",
        "call": "toolCall",
        "arguments": {"tool": "a\nb", "params": {}, "outcome": "success", "attemptedAt": AT},
    },
    {
        "name": "a negative latency is not recorded",
        "call": "toolCall",
        "arguments": {"tool": "a", "params": {}, "outcome": "success", "attemptedAt": AT, "latencyMs": -1},
    },
]

CANONICAL: Final = [
    '{"b":1,"a":[true,false,null],"":{}}',
    '{"\\u20ac":1,"\\r":2,"\\ufb33":3,"1":4,"\\ud83d\\ude00":5,"\\u0080":6,"\\u00f6":7}',
    '"\\u20ac$\\u000f\\nA\'B\\"\\\\\\"/\\u2028\\u007f"',
    "[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001,-0,0.0,1.0,1e21,1e20,9007199254740993]",
    "[1e-7,0.000001,123456789012345678901234567890,5e-324,1.7976931348623157e308,-1.5]",
    '{"outer":{"z":[[],{}],"a":" text "},"numbers":[0.1,0.2,0.30000000000000004]}',
    '{"a":1,"a":1}',
    '{"a":{"b":1,"\\u0062":2}}',
    '"\\ud800"',
    "[NaN]",
    "[1,]",
    "",
    "01",
    '"\t"',
    "null",
]


def events() -> list[dict[str, Any]]:
    """What each call puts on the wire, without the event's own id; null: it is not recorded."""
    made = []
    with serving() as gateway:
        for one in EVENTS:
            gateway.requests.clear()
            with gateway.telemetry(on_error=lambda _: None) as telemetry:
                arguments = {_snake(name): value for name, value in one["arguments"].items()}
                receipt = getattr(telemetry, _snake(one["call"]))(**arguments)
                telemetry.flush(10)
            wire: dict[str, Any] | None = gateway.events[0] if receipt.event_id else None
            if wire is not None:
                assert wire.pop("eventId") == receipt.event_id
            made.append(one | {"agentId": AGENT, "wire": wire})
    return made


def event_ids() -> list[dict[str, Any]]:
    """UUIDv7 from milliseconds and ten random bytes."""
    made = []
    for millis, random in ((0, bytes(10)), (NOW // 1_000, bytes(range(10))), (2**48 - 1, b"\xff" * 10)):
        with (
            patch("os.urandom", return_value=random),
            patch.object(clock, "now_micros", return_value=millis * 1_000),
        ):
            made.append({"millis": millis, "random": random.hex(), "uuid": str(ids.uuid7())})
    return made


def canonical_json() -> list[dict[str, Any]]:
    """Texts and their RFC 8785 forms; null: refused."""
    return [{"text": text, "canonical": _canonical(text)} for text in CANONICAL]


def retries() -> dict[str, Any]:
    """What each status does to a batch, how `Retry-After` is read, and how long the pauses are."""
    statuses = (
        200,
        207,
        302,
        400,
        401,
        403,
        404,
        408,
        409,
        413,
        415,
        422,
        429,
        431,
        500,
        501,
        502,
        503,
        504,
        520,
    )
    headers = (
        None,
        "0",
        " 7 ",
        "301",
        "86400",
        "-1",
        "soon",
        "Wed, 13 May 2026 10:00:30 GMT",
        "Wed, 13 May 2026 09:00:00 GMT",
    )
    with patch.object(clock, "now_micros", return_value=NOW):
        waits = [{"header": one, "seconds": retry_after_seconds(one)} for one in headers]
    return {
        "statuses": [
            {"status": one, "decision": decision}
            for one, decision in zip(statuses, _decisions(statuses), strict=True)
        ],
        "retryAfter": {"nowMillis": NOW // 1_000, "headers": waits},
        "pauses": [
            _pause(*one)
            for one in ((0.5, 30.0, 1), (0.5, 30.0, 4), (0.5, 30.0, 20), (2.0, 1.0, 1), (1.0, 8.0, 3))
        ],
    }


def inclusion_proofs() -> list[dict[str, Any]]:
    """Proofs of leaves in trees of all small sizes and one large index, and the same damaged."""
    hashes = [merkle.leaf_hash(bytes([number])) for number in range(70)]
    tree = merkle.MemoryTree(hashes)
    made: list[dict[str, Any]] = []
    for index, size in ((0, 1), (0, 2), (1, 2), (2, 3), (4, 7), (6, 7), (63, 64), (64, 65), (69, 70)):
        proof = merkle.inclusion_proof(index, size, tree.node)
        good = _proof("holds", hashes[index], index, size, proof, tree.root(size))
        bad = [
            _proof("another root", hashes[index], index, size, proof, hashes[0] if size > 1 else hashes[1]),
            _proof("another leaf", hashes[index + 1 if index < 69 else 0], index, size, proof, tree.root(size)),
            _proof("too long", hashes[index], index, size, [*proof, hashes[5]], tree.root(size)),
            _proof("beyond the tree", hashes[index], size, size, proof, tree.root(size)),
        ]
        if proof:
            bad.append(_proof("too short", hashes[index], index, size, proof[:-1], tree.root(size)))
            bad.append(
                _proof("a short hash", hashes[index], index, size, [*proof[:-1], b"short"], tree.root(size))
            )
        made += [good, *bad]
    # Above 2^32: the path of a tree of which only the right edge is known.
    size = 2**40 + 1
    made.append(
        _proof(
            "an index above 2^32",
            hashes[1],
            size - 1,
            size,
            [hashes[0]],
            merkle.node_hash(hashes[0], hashes[1]),
        )
    )
    return made


def checkpoints() -> list[dict[str, Any]]:
    """Signed notes with the keys that are trusted: size and root, or null where the note is refused."""
    ours, theirs = signer_of(0), signer_of(1)
    checkpoint = Checkpoint(ORIGIN, 300, merkle.leaf_hash(b"root"))
    note = sign_checkpoint(checkpoint, [ours]).decode()
    both = sign_checkpoint(checkpoint, [ours, theirs]).decode()
    line, stranger = LogKey(ours.verifier).line(), LogKey(theirs.verifier).line()
    text, _, signature = note.partition("\n\n")
    cases = [
        ("holds", note, line),
        ("holds beside a stranger's signature", both, line),
        ("holds with extension lines", sign_checkpoint(_extended(checkpoint), [ours]).decode(), line),
        ("the cut-off is not reached", note, f"# ours\n\n{line} until 300"),
        ("beyond the cut-off", note, f"{line} until 299"),
        ("no known key", note, stranger),
        (
            "another log's",
            sign_checkpoint(Checkpoint("dev/ledger/7", 300, checkpoint.root), [ours]).decode(),
            line,
        ),
        ("a size that was changed", note.replace("\n300\n", "\n301\n"), line),
        ("a size with a zero before it", note.replace("\n300\n", "\n0300\n"), line),
        ("a carriage return", note.replace("\n", "\r\n"), line),
        ("no final newline", note[:-1], line),
        ("a hyphen in place of the dash", note.replace("—", "-"), line),
        ("a stray bit in the root", _stray_bit(text) + "\n\n" + signature, line),
        ("no signature", text + "\n\n", line),
        (
            "a key whose id is another's",
            note,
            line.replace("+", "+00000000+", 1).replace(line.split("+")[1] + "+", "", 1),
        ),
        ("no key at all", note, "# nothing\n"),
    ]
    return [
        {"name": name, "note": given, "keys": known, "checkpoint": _opened(given, known)}
        for name, given, known in cases
    ]


FILES: Final[dict[str, Callable[[], Any]]] = {
    "events.json": events,
    "event_ids.json": event_ids,
    "canonical.json": canonical_json,
    "retries.json": retries,
    "inclusion.json": inclusion_proofs,
    "checkpoints.json": checkpoints,
    "cosignatures.json": cosignatures,
}


def text_of(value: Any) -> str:
    """The file's text."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def read(name: str) -> Any:
    """The vectors in a file."""
    return json.loads((FOLDER / name).read_text())


def _snake(name: str) -> str:
    return "".join(f"_{one.lower()}" if one.isupper() else one for one in name)


def _canonical(text: str) -> str | None:
    try:
        return canonical.dumps(canonical.parse_json(text.encode())).decode()
    except InvalidInput:
        return None


def _decisions(statuses: Sequence[int]) -> Iterator[str]:
    """`answered`, `refused`, `retried`, or `retried for a while`."""
    with serving() as gateway:
        transport = Transport(gateway.url, Secret("k"))
        for status in statuses:
            gateway.replies.append(answer(status))
            try:
                transport.delete("/x", 5)
                yield "answered"
            except NotNow as failure:
                yield "retried for a while" if failure.suspicious else "retried"
            except DeliveryFailed:
                yield "refused"
        transport.close()


def _pause(first: float, most: float, attempt: int) -> dict[str, float]:
    """The shortest and the longest pause after this failed attempt."""
    with Telemetry(
        api_key="k",
        base_url="http://127.0.0.1:1",
        agent_id=AGENT,
        retry_first_seconds=first,
        retry_max_seconds=most,
    ) as telemetry:
        recorder: Any = telemetry._recorder
    sender = Sender(recorder.config, recorder.buffer, recorder._transport, Reports(None), None)
    state: Any = RetryCallState(None, None, (), {})  # type: ignore[arg-type]
    state.attempt_number = attempt
    state.set_exception((NotNow, NotNow("x"), None))
    with patch("random.uniform", side_effect=lambda *bounds: bounds):
        found: Any = sender._wait(state)
    low, high = found
    return {"firstSeconds": first, "maxSeconds": most, "attempt": attempt, "low": low, "high": max(low, high)}


def _proof(name: str, leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> dict[str, Any]:
    try:
        merkle.verify_inclusion(leaf, index, size, proof, root)
        holds = True
    except merkle.ProofError:
        holds = False
    path = [one.hex() for one in proof]
    return {
        "name": name,
        "leaf": leaf.hex(),
        "index": index,
        "size": size,
        "proof": path,
        "root": root.hex(),
        "holds": holds,
    }


def _opened(note: str, known: str) -> dict[str, Any] | None:
    try:
        found = open_checkpoint(note.encode(), ORIGIN, parse_keys(known.encode()).get(ORIGIN, ()))
    except (NoteError, InvalidInput):
        return None
    return {"size": found.size, "root": found.root.hex()}


def _extended(checkpoint: Checkpoint) -> Checkpoint:
    return Checkpoint(checkpoint.origin, checkpoint.size, checkpoint.root, ("time 1", "— not a signature"))


def _stray_bit(text: str) -> str:
    """The last character before the padding holds two bits that count for nothing."""
    assert text.endswith("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return text[:-2] + alphabet[alphabet.index(text[-2]) + 1] + "="


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in FILES.items():
        (FOLDER / name).write_text(text_of(make()))
    (FOLDER / "reports.json").write_text(text_of(report_vectors.reports()))


if __name__ == "__main__":
    main()
