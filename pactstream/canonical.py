"""Canonical JSON: one byte string for one value, so that it can be hashed and signed.

`dumps` is RFC 8785 (JCS). `value_bytes` is the same format for *private* values whose numbers must stay
exact: RFC 8785 rounds every number to a binary double, `value_bytes` writes the same ECMAScript notation from
the number's own decimal digits. For a number of at most 15 significant digits within a double's normal range
both give the same bytes, so an ordinary JCS library can check an ordinary disclosure.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from math import isfinite
from typing import Any, Literal

import jiter
import msgspec
import rfc8785

from pactstream.errors import InvalidInput

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that RFC 8785 (after I-JSON, RFC 7493 section 2.2) can carry."""

_MAX_PLAIN_DIGITS = 21  # ECMA-262, Number::toString: beyond it, exponent notation
_MIN_PLAIN_POINT = -6
_MIN_PLAIN_FLOAT = 1e-4

_encode = msgspec.json.Encoder(order="sorted").encode


def dumps(obj: object) -> bytes:
    """The RFC 8785 form of `obj`: str, int within ±(2^53 - 1), float, bool, None, lists and dicts of these.

    Raises `InvalidInput` for anything else: NaN, larger integers, keys that are no strings, lone surrogates.
    """
    try:
        # msgspec's sorted encoding is 30 times as fast and the same bytes, except for some floats (1.0, 1e-6),
        # for keys whose UTF-16 order differs from their code point order, and for types that JSON has not.
        if _is_plain(obj):
            return _encode(obj)
        whole = _whole(obj)
        if _is_plain(whole):
            return _encode(whole)
        return rfc8785.dumps(obj)  # type: ignore[arg-type]  # it refuses by itself what it cannot write
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise InvalidInput(f"not canonical JSON: {_reason(error)}") from error
    except RecursionError as error:
        raise InvalidInput("not canonical JSON: nested too deeply") from error


def value_bytes(obj: object) -> bytes:
    """Canonical bytes of a private value, numbers exact: also `Decimal` and integers of any size.

    Differs from RFC 8785 only in numbers: the digits are the number's own (trailing zeros dropped, so that
    250, 250.0 and 2.5e2 are one value), a float stands for its shortest decimal form, and -0 is 0.
    Raises `InvalidInput` as `dumps` does.
    """
    try:
        if type(obj) is str or _is_plain(obj):
            return _encode(obj)
        if type(obj) is Decimal:
            return _number(obj).encode()
        return "".join(_exact(obj)).encode()
    except (UnicodeEncodeError, ValueError) as error:
        raise InvalidInput(f"not canonical JSON: {_reason(error)}") from error
    except RecursionError as error:
        raise InvalidInput("not canonical JSON: nested too deeply") from error


def parse_exact(data: bytes) -> Any:
    """JSON text (UTF-8) as Python values with every number exact (int or `Decimal`).

    Refuses what a reader could take in two ways: duplicate keys, NaN, lone surrogates, trailing bytes; and
    nesting beyond 200 or integers beyond 4,300 digits. Raises `InvalidInput`.
    """
    return _parse(data, "decimal")


def parse_json(data: bytes) -> Any:
    """As `parse_exact`, but with numbers as RFC 8785 sees them: see `as_doubles`. Raises `InvalidInput`."""
    return as_doubles(_parse(data, "float"))


def as_doubles(value: Any) -> Any:
    """Decoded JSON with every integer beyond ±(2^53 - 1) as a float, which is what its text means in RFC 8785.

    Such an integer is how a large float comes back from canonical JSON. Raises `InvalidInput` for one that no
    double can hold, and for endless nesting.
    """
    try:
        return _as_doubles(value)
    except OverflowError as error:
        raise InvalidInput("not JSON: a number is too large") from error
    except RecursionError as error:
        raise InvalidInput("not JSON: nested too deeply") from error


def _as_doubles(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_doubles(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_as_doubles(item) for item in value]
    if isinstance(value, int) and not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return float(value)
    return value


def _parse(data: bytes, float_mode: Literal["decimal", "float"]) -> Any:
    try:
        return jiter.from_json(data, float_mode=float_mode, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidInput(f"not JSON: {error}") from error


def _whole(value: Any) -> Any:
    """A copy with floats that are whole numbers as integers, which RFC 8785 writes alike; -0 is 0 there too."""
    kind = type(value)
    if kind is dict:
        return {key: _whole(member) for key, member in value.items()}
    if kind is list or kind is tuple:
        return [_whole(item) for item in value]
    if kind is float and value.is_integer() and -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return int(value)
    return value


def _reason(error: Exception) -> str:
    """What was wrong, without the value itself: it may be private."""
    return "a lone surrogate" if isinstance(error, UnicodeEncodeError) else str(error)


def _is_plain(obj: object) -> bool:
    """Whether msgspec's sorted encoding is RFC 8785; on exact types: a subclass takes the slow path."""
    kind = type(obj)
    if kind is str or kind is bool or obj is None:
        return True
    if kind is int:
        return -MAX_SAFE_INTEGER <= obj <= MAX_SAFE_INTEGER  # type: ignore[operator]
    if kind is float:
        # The fewest digits that read back, as ECMA-262 has them; but whole numbers get ".0", small ones "e".
        return not obj.is_integer() and isfinite(obj) and abs(obj) >= _MIN_PLAIN_FLOAT  # type: ignore
    if kind is dict:
        for key, value in obj.items():  # type: ignore[attr-defined]
            if type(key) is not str or not key.isascii() or not _is_plain(value):
                return False
        return True
    if kind is list or kind is tuple:
        return all(map(_is_plain, obj))  # type: ignore[call-overload]
    return False


def _exact(obj: object) -> Iterator[str]:
    if obj is None or isinstance(obj, (bool, str)):
        yield _encode(obj).decode()
    elif isinstance(obj, int):
        yield _number(Decimal(obj))
    elif isinstance(obj, float):
        yield _number(Decimal(repr(float(obj))))
    elif isinstance(obj, Decimal):
        yield _number(obj)
    elif isinstance(obj, (list, tuple)):
        yield "["
        for position, item in enumerate(obj):
            if position:
                yield ","
            yield from _exact(item)
        yield "]"
    elif isinstance(obj, dict):
        yield from _exact_object(obj)
    else:
        raise ValueError(f"unsupported type: {type(obj).__name__}")


def _exact_object(members: dict[object, object]) -> Iterator[str]:
    keyed = []
    for key, value in members.items():
        if not isinstance(key, str):
            raise ValueError("object keys must be strings")
        keyed.append((key.encode("utf-16-be"), key, value))  # RFC 8785, section 3.2.3: order of UTF-16 units
    keyed.sort(key=lambda entry: entry[0])
    yield "{"
    for position, (_, key, value) in enumerate(keyed):
        if position:
            yield ","
        yield _encode(key).decode() + ":"
        yield from _exact(value)
    yield "}"


def _number(value: Decimal) -> str:
    """ECMA-262 Number::toString, radix 10, on the exact digits of `value` (its steps 6 to 10)."""
    text = str(value)
    if "." in text and "E" not in text and len(text) <= _MAX_PLAIN_DIGITS:
        # Such a Decimal prints as ECMA-262 has it, but for trailing zeros: most amounts end here.
        text = text.rstrip("0").removesuffix(".")
        return "0" if text == "-0" else text
    return _number_by_digits(value)


def _number_by_digits(value: Decimal) -> str:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError("a number must be finite")
    significant = "".join(map(str, digits))
    point = len(significant) + exponent  # value = 0.significant × 10^point
    significant = significant.rstrip("0")
    if not significant:
        return "0"
    count = len(significant)
    if count <= point <= _MAX_PLAIN_DIGITS:
        text = significant + "0" * (point - count)
    elif 0 < point <= _MAX_PLAIN_DIGITS:
        text = f"{significant[:point]}.{significant[point:]}"
    elif _MIN_PLAIN_POINT < point <= 0:
        text = f"0.{'0' * -point}{significant}"
    else:
        mantissa = significant if count == 1 else f"{significant[0]}.{significant[1:]}"
        text = f"{mantissa}e{point - 1:+d}"
    return f"-{text}" if sign else text
