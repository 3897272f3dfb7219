"""RFC 8785 and exact values: the published vectors, and what is refused."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from enum import IntEnum

import pytest

from pactstream import canonical
from pactstream.errors import InvalidInput

# RFC 8785, appendix B: the bits of a double, and its text.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


class Colour(IntEnum):
    RED = 1


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_floats_are_written_as_rfc_8785_appendix_b_has_them(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical.dumps(number) == text.encode()
    assert canonical.value_bytes(number) == text.encode()


def test_the_example_of_rfc_8785_section_3_2_2() -> None:
    source = r"""{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"""
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    ).encode()
    assert canonical.dumps(json.loads(source)) == expected


def test_keys_are_sorted_by_utf_16_units() -> None:
    """RFC 8785, section 3.2.3: an emoji (a surrogate pair, U+D83D…) comes before U+FB33."""
    members: dict[str, object] = {"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3, "1": 4, "\r": 5}
    expected = '{"\\r":5,"1":4,"€":3,"😀":2,"\ufb33":1}'.encode()
    assert canonical.dumps(members) == expected
    assert canonical.value_bytes(members) == expected


@pytest.mark.parametrize("write", [canonical.dumps, canonical.value_bytes])
@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        [float("-inf")],
        {1: "one"},
        {"a": {b"b": 1}},
        {1, 2},
        b"bytes",
        object(),
        "\ud800",
        ["\udfff"],
        {"\ud800": 1},
        {"\ud800": 1.5},
        {"plain": {"é": "\ud800"}},
    ],
)
def test_what_json_cannot_hold_is_refused(write: object, value: object) -> None:
    assert callable(write)
    with pytest.raises(InvalidInput, match="not canonical JSON"):
        write(value)


@pytest.mark.parametrize("write", [canonical.dumps, canonical.value_bytes])
@pytest.mark.parametrize("innermost", [0, 0.5])
def test_endless_nesting_is_refused(write: object, innermost: float) -> None:
    assert callable(write)
    value: object = innermost
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidInput, match="nested too deeply"):
        write(value)


def test_errors_do_not_show_the_value() -> None:
    with pytest.raises(InvalidInput) as caught:
        canonical.value_bytes("secret \ud800")
    assert "secret" not in str(caught.value)


def test_only_values_may_be_larger_than_a_double_can_hold() -> None:
    beyond = canonical.MAX_SAFE_INTEGER + 1
    for number in (beyond, -beyond):
        with pytest.raises(InvalidInput, match="exceeds"):
            canonical.dumps(number)
        assert canonical.value_bytes(number) == str(number).encode()
        assert canonical.dumps([number - number // beyond]) == f"[{number - number // beyond}]".encode()
    with pytest.raises(InvalidInput, match="unsupported type"):
        canonical.dumps(Decimal(1))


def test_subclasses_take_the_slow_path_and_come_out_alike() -> None:
    assert canonical.dumps([Colour.RED, (1, 2), True]) == b"[1,[1,2],true]"
    assert canonical.value_bytes([Colour.RED, (1, 2), True]) == b"[1,[1,2],true]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250", "250"),
        ("250.0", "250"),
        ("250.50", "250.5"),
        ("2.5e2", "250"),
        ("0.0", "0"),
        ("-0.0", "0"),
        ("-0", "0"),
        ("-0.00", "0"),
        ("0e99", "0"),
        ("-12.5", "-12.5"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("123456789012345678901", "123456789012345678901"),
        ("1234567890123456789012", "1.234567890123456789012e+21"),
        ("0.000001", "0.000001"),
        ("0.0000010", "0.000001"),
        ("1e-7", "1e-7"),
        ("12e-8", "1.2e-7"),
        ("500.00000000000000001", "500.00000000000000001"),
        ("9007199254740993", "9007199254740993"),
        ("1e9999999", "1e+9999999"),
        ("-1.5e-9999999", "-1.5e-9999999"),
        ("1234567890123456789.0123456789", "1234567890123456789.0123456789"),
    ],
)
def test_values_keep_every_digit(text: str, expected: str) -> None:
    assert canonical.value_bytes(canonical.parse_exact(text.encode())) == expected.encode()
    assert canonical.value_bytes({"n": [Decimal(text)]}) == b'{"n":[%s]}' % expected.encode()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "sNaN"])
def test_a_decimal_must_be_finite(number: str) -> None:
    with pytest.raises(InvalidInput, match="finite"):
        canonical.value_bytes(Decimal(number))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"a":1,"a":1}',
        b'{"a":NaN}',
        b"Infinity",
        b'"\\ud800"',
        b'"\xff"',
        b"1 2",
        b"1e99999999999999999999",
        b"[" * 1_000,
        b"9" * 5_000,
    ],
)
def test_ambiguous_or_endless_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="not JSON"):
        canonical.parse_exact(data)


def test_parsing_keeps_numbers_exact_or_takes_them_as_doubles() -> None:
    assert canonical.parse_exact(b'{"a":[1.10,7]}') == {"a": [Decimal("1.10"), 7]}
    number = canonical.parse_json(b"1.10")
    assert (type(number), number) == (float, 1.1)


def test_an_integer_beyond_a_double_s_precision_is_the_double_that_it_means() -> None:
    parsed = canonical.parse_json(b'{"a":[9007199254740991,9007199254740993,true]}')
    assert parsed == {"a": [9007199254740991, 9007199254740992.0, True]}
    assert [type(item) for item in parsed["a"]] == [int, float, bool]
    with pytest.raises(InvalidInput, match="too large"):
        canonical.parse_json(b"9" * 400)
