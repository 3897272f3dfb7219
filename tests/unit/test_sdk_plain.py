"""Python values as bounded JSON: never an exception, never more than the limit, and honest about losses."""

from __future__ import annotations

import json
from collections import OrderedDict, UserDict, deque, namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactstream.events.parse import MAX_DEPTH, MAX_PARAMS_BYTES, MAX_PARAMS_KEYS
from pactstream.sdk import plain
from pactstream.sdk.plain import primitive, snapshot, text


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Name(StrEnum):
    BOB = "bob"


class Loud(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


@dataclass
class Payment:
    to: str
    amount: Decimal


class Record(msgspec.Struct):
    a: int


class Model:
    def model_dump(self) -> dict[str, int]:
        return {"x": 1}


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text é 😀", '"text é 😀"'),
        (None, "null"),
        (True, "true"),
        (-0.0, "-0.0"),
        (2**70, str(2**70)),
        (Decimal("500.00000000000000001"), "500.00000000000000001"),
        (Decimal("1E+5"), "1E+5"),
        ([1, (2, {"a": [None]})], '[1,[2,{"a":[null]}]]'),
        ({1}, "[1]"),
        (deque([1, 2]), "[1,2]"),
        (Colour.RED, '"red"'),
        (Level.HIGH, "3"),
        (Name.BOB, '"bob"'),
        (Loud("0xBAD"), '"0xBAD"'),
        (Payment("x", Decimal("1.50")), '{"to":"x","amount":1.50}'),
        (Record(1), '{"a":1}'),
        (Model(), '{"x":1}'),
        (Point(1, 2), "[1,2]"),
        (OrderedDict(a=1), '{"a":1}'),
        (UserDict(a=1), '{"a":1}'),
        (UUID(int=5), '"00000000-0000-0000-0000-000000000005"'),
        (datetime(2026, 1, 2, tzinfo=UTC), '"2026-01-02T00:00:00+00:00"'),
        (date(2026, 1, 2), '"2026-01-02"'),
        (PurePosixPath("/a/b"), '"/a/b"'),
    ],
)
def test_natural_forms_are_exact(value: object, expected: str) -> None:
    encoded, exact = snapshot({"v": value})
    assert encoded.decode() == '{"v":' + expected + "}"
    assert exact


class Hostile:
    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


class HostileMapping(UserDict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("no")


@dataclass
class HostileFields:
    x: int

    def __getattribute__(self, name: str) -> Any:
        if name == "x":
            raise RuntimeError("no")
        return object.__getattribute__(self, name)


def endless() -> Iterator[int]:
    while True:
        yield 1


def circular() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (10**400, "<builtins.int>"),
        (Decimal("NaN"), "NaN"),
        (Decimal("1E+999999"), "1E+999999"),
        (b"bytes", "<builtins.bytes>"),
        (object(), "<builtins.object>"),
        (Payment, "<builtins.type>"),
        (endless(), "<builtins.generator>"),
        (Hostile(), f"<{__name__}.Hostile>"),
        (HostileMapping(), f"<{__name__}.HostileMapping>"),
        (HostileFields(1), f"<{__name__}.HostileFields>"),
        ("\ud800x", "?x"),
        ({1: "a"}, {"1": "a"}),
        ({None: "a"}, {"<builtins.NoneType>": "a"}),
        ({"k" * 200: 1}, {"k" * 100: 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_rest_has_a_stand_in_and_says_so(value: object, expected: object) -> None:
    encoded, exact = snapshot({"v": value})
    assert json.loads(encoded) == {"v": expected}
    assert not exact


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000_000,
        "\x00" * 100_000,
        "😀" * 100_000,
        ["\u2028" * 50] * 4_000,
        list(range(1_000_000)),
        [2**1_000] * 4_000,
        {str(n): n for n in range(100_000)},
        circular(),
    ],
    ids=["long", "escapes", "wide", "texts", "numbers", "big numbers", "keys", "circular"],
)
def test_the_size_is_bounded(value: object) -> None:
    encoded, exact = snapshot({"v": value})
    assert 2 < len(encoded) <= plain.MAX_BYTES < MAX_PARAMS_BYTES
    assert not exact
    json.loads(encoded)


def test_the_limits_are_within_the_gateways() -> None:
    assert plain.MAX_KEYS < MAX_PARAMS_KEYS
    assert plain.MAX_DEPTH + 1 < MAX_DEPTH
    encoded, exact = snapshot({f"k{n}": n for n in range(200)})
    assert len(json.loads(encoded)) == plain.MAX_KEYS
    assert not exact


def test_a_cut_text_keeps_its_beginning_and_tells_its_length() -> None:
    encoded, exact = snapshot({"v": "ab" * 40_000})
    value = json.loads(encoded)["v"]
    assert value.startswith("abab")
    assert value.endswith("…[80000 characters]")
    assert not exact


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=50), inner, max_size=5),
    max_leaves=30,
)


@given(st.dictionaries(st.text(max_size=50), JSON, max_size=10))
def test_json_comes_through_unchanged(values: dict[str, Any]) -> None:
    encoded, exact = snapshot(values)
    lost = any(0xD800 <= ord(c) < 0xE000 for c in json.dumps(values, ensure_ascii=False))
    assert exact != lost
    if exact:
        assert json.loads(encoded) == values


ANYTHING = st.recursive(
    st.none()
    | st.floats()
    | st.integers()
    | st.decimals()
    | st.text()
    | st.binary()
    | st.complex_numbers()
    | st.dates()
    | st.uuids()
    | st.builds(object)
    | st.builds(Hostile),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.none(), inner, max_size=5)
    ),
    max_leaves=30,
)


@given(st.dictionaries(st.text(), ANYTHING, max_size=10))
def test_anything_at_all_becomes_bounded_json(values: dict[str, Any]) -> None:
    encoded, _ = snapshot(values)
    assert len(encoded) <= plain.MAX_BYTES
    assert isinstance(json.loads(encoded), dict)


@pytest.mark.parametrize(
    ("value", "limit", "expected"),
    [
        ("abc", 3, "abc"),
        ("x" * 100, 40, "x" * 23 + "…[100 characters]"),
        ({"a": [1]}, 100, '{"a":[1]}'),
        (None, 100, "null"),
        (Loud("raw"), 100, "raw"),
        ("\ud800", 10, "?"),
    ],
)
def test_text(value: object, limit: int, expected: str) -> None:
    assert text(value, limit) == expected
    assert len(expected) <= limit


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (5, 5),
        (2**64, "18446744073709551616"),
        (1.5, 1.5),
        (float("inf"), '"inf"'),
        ("s", "s"),
        (["a"], '["a"]'),
        (Decimal("1.5"), "1.5"),
    ],
)
def test_metadata_values_are_primitives(value: object, expected: object) -> None:
    assert primitive(value, 100) == expected
