"""Private values written all at once are the bytes that writing each by itself gives."""

from __future__ import annotations

import json
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactstream import canonical
from pactstream.ledger.openings import SALT_BYTES, Salts, Secrets, members_at_once

TEXT = st.text(st.sampled_from('ab.:"\\é𝄞\x7f\x02｡%{'), max_size=4)
NUMBER = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.sampled_from(["-0", "-0.0", "1E-9", "1.50", "1e400", "1e99999999999", "9" * 21, "9" * 22, "100e-2"]),
)
STRING = st.one_of(TEXT.map(json.dumps), TEXT.map(lambda text: json.dumps(text, ensure_ascii=False)))
PLAIN = NUMBER | STRING | st.sampled_from(["true", "false", "null", '"a:b"'])


def object_of(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Objects as text, perhaps with a key that stands twice."""
    members = st.lists(st.tuples(STRING, values), max_size=5)
    return members.map(lambda found: "{" + ", ".join(f"{key} :{value}" for key, value in found) + "}")


NESTED = st.recursive(
    PLAIN,
    lambda inner: object_of(inner) | st.lists(inner, max_size=3).map(lambda found: f"[{','.join(found)}]"),
    max_leaves=6,
)
OBJECT = object_of(NESTED).map(str.encode)
BROKEN = st.tuples(OBJECT, st.integers(0, 60), st.binary(max_size=2)).map(
    lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] + 1 :]
)


@given(OBJECT | BROKEN)
def test_at_once_is_one_by_one(raw: bytes) -> None:
    found = members_at_once(raw)
    if found is not None:
        members = canonical.parse_exact(raw)
        assert found == (tuple(members), [canonical.value_bytes(value) for value in members.values()])


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":' + b"9" * 22 + b"}",
        b'{"a":0.' + b"9" * 100 + b"}",
        b'{"a":' + b"[" * 250 + b"]" * 250 + b"}",
        b'{"a:b":1}',
        b'{"a":"\\u0041"}',
        '{"a":{"é":1}}'.encode(),
        b'{"a":NaN}',
        b"[1]",
        b"",
    ],
)
def test_what_two_readers_might_take_differently_goes_the_exact_way(raw: bytes) -> None:
    assert members_at_once(raw) is None


def test_most_parameters_are_written_at_once() -> None:
    raw = '{"to":"0xA1","amount":250.50,"memo":"für Mai","rate":-1E-9,"n":null,"ok":[]}'.encode()
    assert members_at_once(raw) == (
        ("to", "amount", "memo", "rate", "n", "ok"),
        [b'"0xA1"', b"250.5", '"für Mai"'.encode(), b"-1e-9", b"null", b"[]"],
    )


@given(st.dictionaries(TEXT, st.integers() | TEXT, min_size=1, max_size=6))
def test_each_commitment_has_its_opening(members: dict[str, object]) -> None:
    secrets = Secrets()
    secrets.add_object("params", json.dumps(members).encode())
    secrets.add("input", "hello")
    sealed = secrets.seal(Salts(at_once=0))
    commitments = canonical.parse_json(sealed.commitments)
    assert canonical.dumps(commitments) == sealed.commitments
    openings = canonical.parse_exact(sealed.private)
    assert [*openings] == [f"params.{key}" for key in members] + ["input"]
    for name, opening in openings.items():
        value = canonical.value_bytes(opening["value"])
        assert sha256(bytes.fromhex(opening["salt"]) + value).hexdigest() == commitments[name]
    assert msgspec.json.decode(sealed.private)["input"]["value"] == "hello"


def test_no_salt_is_given_twice_however_they_are_drawn() -> None:
    drawn: list[bytes] = []

    def draw(count: int) -> bytes:
        drawn.append(bytes((len(drawn) * 97 + at) % 251 for at in range(count)))
        return drawn[-1]

    salts = Salts(draw, at_once=3)
    counts = (1, 1, 2, 5, 0, 3, 1)
    taken = [salts.take(count) for count in counts]
    assert [len(one) for one in taken] == [count * SALT_BYTES for count in counts]
    assert b"".join(drawn).startswith(b"".join(taken))
