"""The fast path of canonical JSON against the reference library, on anything Hypothesis thinks of."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from pactstream import canonical
from pactstream.errors import InvalidInput

SAFE = st.integers(-canonical.MAX_SAFE_INTEGER, canonical.MAX_SAFE_INTEGER)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | SAFE | TEXT


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner) | st.tuples(inner, inner)
    )


@given(nested(SCALARS | st.floats(allow_nan=False, allow_infinity=False)))
def test_dumps_is_rfc_8785(value: Any) -> None:
    assert canonical.dumps(value) == rfc8785.dumps(value)


@given(nested(SCALARS | st.floats(allow_nan=False, allow_infinity=False)))
def test_value_bytes_of_ordinary_values_is_rfc_8785(value: Any) -> None:
    assert canonical.value_bytes(value) == rfc8785.dumps(value)


@given(st.characters())
def test_every_character_is_escaped_alike(character: str) -> None:
    try:
        expected = rfc8785.dumps(character)
    except rfc8785.CanonicalizationError:
        expected = b"refused"
    try:
        assert canonical.dumps(character) == expected
    except InvalidInput:
        assert expected == b"refused"


@given(nested(SCALARS | st.decimals(allow_nan=False, allow_infinity=False) | st.integers()))
def test_value_bytes_reads_back_as_the_same_value(value: Any) -> None:
    encoded = canonical.value_bytes(value)
    again = canonical.parse_exact(encoded)
    assert canonical.value_bytes(again) == encoded
    assert json.dumps(_plain(again), sort_keys=True) == json.dumps(_plain(value), sort_keys=True)


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(0, 5))
def test_equal_numbers_have_equal_bytes(number: Decimal, zeros: int) -> None:
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    padded = Decimal((sign, digits + (0,) * zeros, exponent - zeros))
    assert padded == number
    assert canonical.value_bytes(padded) == canonical.value_bytes(number)


@given(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False))
def test_different_numbers_have_different_bytes(one: Decimal, other: Decimal) -> None:
    assert (canonical.value_bytes(one) == canonical.value_bytes(other)) == (one == other)


@given(st.binary() | st.text().map(lambda text: text.encode(errors="surrogatepass")))
def test_parsing_raises_only_our_error(data: bytes) -> None:
    try:
        value = canonical.parse_exact(data)
    except InvalidInput:
        return
    canonical.value_bytes(value)


def _plain(value: Any) -> Any:
    """Numbers as exact fractions, so that 2.50 and 2.5 compare equal, and unlike strings."""
    if isinstance(value, (Decimal, int)) and not isinstance(value, bool):
        return {"ratio": [str(part) for part in Decimal(value).as_integer_ratio()]}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
