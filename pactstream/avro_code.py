"""One generated Python function per Avro schema and direction.

A general encoder looks at the schema again for each value, and tries the branches of each union; most of what a
gateway and a worker do with an event would be that. The generated functions know the schema. They write and
read the binary encoding of Avro 1.12 ("Binary Encoding"), byte for byte as fastavro, seven times as fast.

Of types they know what `schemas/avro` has: records, arrays, maps, fixed, string, bytes, int, long, double, and
unions of null and one of these.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

Encode: TypeAlias = Callable[[Any, Callable[[bytes], None]], None]
"""Hands the pieces of a record's encoding to the second argument, in order."""

Decode: TypeAlias = Callable[[bytes, int], tuple[Any, int]]
"""The value that begins at a position, and where the next begins: beyond the data's end if it is cut off."""

FAULTS: Final = (ArithmeticError, AttributeError, EOFError, LookupError, TypeError, ValueError, struct.error)
"""What the functions raise on what does not fit the schema."""

_BOUNDS: Final = {"int": 1 << 31, "long": 1 << 63}


def _slow_varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SHORT: Final = [_slow_varint(number) for number in range(1 << 14)]
"""Every number of one or two bytes."""
_PIECES: Final = [bytes((number & 0x7F | 0x80, number >> 7 | 0x80)) for number in range(1 << 14)]
"""14 bits each, of a number that goes on."""


def varint(number: int) -> bytes:
    """An unsigned number, seven bits a byte, lowest first."""
    out = b""
    while number >> 14:
        out += _PIECES[number & 0x3FFF]
        number >>= 14
    return out + _SHORT[number]


_SHORT_END: Final = 1 << 13
_SHORT_ZIGZAG: Final = _SHORT[::2]
"""Numbers from zero on below `_SHORT_END`, as signed ones."""
_SOME: Final = b"\x02"
"""In front of what is not null, the second branch of its union."""
_DOUBLE: Final = struct.Struct("<d")


def _length(number: int) -> bytes:
    return varint(number << 1)


def _zigzag(number: int, bound: int) -> bytes:
    if not -bound <= number < bound:
        raise OverflowError(f"{number} is out of range")
    return varint(number << 1 if number >= 0 else ~number << 1 | 1)


def _rest_of_varint(data: bytes, at: int, number: int) -> tuple[int, int]:
    """The number whose first byte, `number`, says that more follow from `at` on; and where it ends."""
    number &= 0x7F
    for shift in range(7, 70, 7):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    if number >> 64 or byte > 0x7F:
        raise ValueError("a number of more than 64 bits")
    return number, at


def _default(field: Mapping[str, Any]) -> Any:
    """A field's default as a value: JSON has bytes as text, a character a byte (Avro 1.12, "Records")."""
    default = field["default"]
    return default.encode("latin-1") if field["type"] == "bytes" else default


def encoder(schema: Any) -> Encode:
    """The function that encodes records of `schema`, Avro's JSON form.

    It raises one of `FAULTS` for a record that does not fit. A piece may be what the record holds as bytes;
    where that is of another type, joining the pieces raises a `TypeError`.
    """
    source = _Source()
    _Writing(source).all_of(schema, "v0")
    function: Encode = source.function("encode(v0, put)", "")
    return function


def decoder(schema: Any) -> Decode:
    """The function that decodes records of `schema`, Avro's JSON form; raises one of `FAULTS`."""
    source = _Source()
    value = _Reading(source).value(schema, 1)
    function: Decode = source.function("decode(d, p)", f"return {value}, p")
    return function


class _Source:
    """Lines of a function. Nothing of a schema but `repr` of a name or a default enters them."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._names = 0

    def line(self, indent: int, code: str) -> None:
        self._lines.append(" " * indent + code)

    def name(self) -> str:
        self._names += 1
        return f"v{self._names}"

    def function(self, head: str, last: str) -> Any:
        namespace: dict[str, Any] = {
            "double": _DOUBLE.pack,
            "join": b"".join,
            "length": _length,
            "more": _rest_of_varint,
            "read_double": _DOUBLE.unpack_from,
            "short": _SHORT_ZIGZAG,
            "some_double": lambda number: _SOME + _DOUBLE.pack(number),
            "some_length": lambda number: _SOME + _length(number),
            "some_short": [_SOME + one for one in _SHORT_ZIGZAG],
            "some_zigzag": lambda number, bound: _SOME + _zigzag(number, bound),
            "zigzag": _zigzag,
        }
        source = "\n".join([f"def {head}:", *self._lines, f" {last}"])
        exec(compile(source, "<avro>", "exec"), namespace)  # noqa: S102 - of our own schemas
        return namespace[head.partition("(")[0]]


class _Writing:
    """Pieces are gathered as expressions and handed on together: a call for each would cost more than most."""

    def __init__(self, source: _Source) -> None:
        self._line = source.line
        self._name = source.name
        self._pieces: list[str] = []

    def all_of(self, schema: Any, value: str) -> None:
        """Lines that write `value`."""
        self._value(schema, value, 1)
        self._flush(1)

    def _value(self, schema: Any, value: str, at: int) -> None:
        """Lines for `value`, indented by `at`; those of the last pieces are still to be flushed."""
        match schema:
            case ["null", str(kind)]:
                head, *rest = self._primitive(kind, value, "some_")
                self._pieces.append(f"b'\\x00' if {value} is None else {head}")
                self._pieces += [f"b'' if {value} is None else {one}" for one in rest]
            case ["null", other]:
                self._flush(at)
                self._line(at, f"if {value} is None: put(b'\\x00')")
                self._line(at, "else:")
                self._pieces.append("b'\\x02'")
                self._value(other, value, at + 1)
                self._flush(at + 1)
            case {"type": "record", "fields": fields}:
                for one in fields:
                    self._field(one, value, at)
            case {"type": "array", "items": items}:
                item = self._name()
                self._block(value, item, value, at)
                self._value(items, item, at + 1)
                self._end_of_block(value, at)
            case {"type": "map", "values": values}:
                key, item = self._name(), self._name()
                self._block(value, f"{key}, {item}", f"{value}.items()", at)
                self._value("string", key, at + 1)
                self._value(values, item, at + 1)
                self._end_of_block(value, at)
            case {"type": "fixed", "size": int(size)}:
                self._line(at, f"if len({value}) != {size}: raise ValueError('a fixed of another length')")
                self._pieces.append(value)
            case str():
                self._pieces += self._primitive(schema, value, "")
            case _:
                raise NotImplementedError(f"Avro type {schema}")

    def _field(self, field: Mapping[str, Any], record: str, at: int) -> None:
        value, name = self._name(), field["name"]
        member = f".get({name!r}, {_default(field)!r})" if "default" in field else f"[{name!r}]"
        self._line(at, f"{value} = {record}{member}")
        self._value(field["type"], value, at)

    def _block(self, value: str, item: str, items: str, at: int) -> None:
        # One block with all items, then the end: an empty block.
        self._pieces.append(f"length(len({value}))")
        self._flush(at)
        self._line(at, f"for {item} in {items}:")

    def _end_of_block(self, value: str, at: int) -> None:
        self._flush(at + 1)
        self._pieces.append(f"b'\\x00' if {value} else b''")

    def _flush(self, at: int) -> None:
        if self._pieces:
            self._line(at, f"put(join(({', '.join(self._pieces)},)))")
            self._pieces = []

    def _primitive(self, kind: str, value: str, some: str) -> list[str]:
        """Expressions for its pieces; with `some_` the first begins with the number of a union's branch."""
        match kind:
            case "string" | "bytes":
                encoded = f"{value} := {value}.encode()" if kind == "string" else value
                short, long = f"{some}short[n]", f"{some}length(n)"
                return [f"{short} if (n := len({encoded})) < {_SHORT_END} else {long}", value]
            case "int" | "long":
                short, long = f"{some}short[{value}]", f"{some}zigzag({value}, {_BOUNDS[kind]})"
                return [f"{short} if 0 <= {value} < {_SHORT_END} else {long}"]
            case "double":
                return [f"{some}double({value})"]
            case _:
                raise NotImplementedError(f"Avro type {kind}")


class _Reading:
    def __init__(self, source: _Source) -> None:
        self._line = source.line
        self._name = source.name

    def value(self, schema: Any, at: int) -> str:
        """Lines that read a value of `schema`, indented by `at`; returns an expression for it."""
        match schema:
            case ["null", other]:
                return self._optional(other, at)
            case {"type": "record", "fields": fields}:
                read = [(one["name"], self.value(one["type"], at)) for one in fields]
                return "{" + ", ".join(f"{name!r}: {value}" for name, value in read) + "}"
            case {"type": "array", "items": items}:
                return self._blocks("[]", lambda into, inner: f"{into}.append({self.value(items, inner)})", at)
            case {"type": "map", "values": values}:
                return self._blocks("{}", lambda into, inner: self._entry(into, values, inner), at)
            case {"type": "fixed", "size": int(size)}:
                self._line(at, f"e = p + {size}")
                return self._slice("", at)
            case str():
                return self._primitive(schema, at)
            case _:
                raise NotImplementedError(f"Avro type {schema}")

    def _optional(self, schema: Any, at: int) -> str:
        value = self._name()
        self._line(at, "n = d[p]; p += 1")
        self._line(at, f"if n == 0: {value} = None")
        self._line(at, "elif n == 2:")
        self._line(at + 1, f"{value} = {self.value(schema, at + 1)}")
        self._line(at, "else: raise ValueError('no such branch of a union')")
        return value

    def _entry(self, into: str, values: Any, at: int) -> str:
        key = self.value("string", at)
        return f"{into}[{key}] = {self.value(values, at)}"

    def _blocks(self, empty: str, item: Callable[[str, int], str], at: int) -> str:
        value, count = self._name(), self._name()
        self._line(at, f"{value} = {empty}")
        self._line(at, "while True:")
        self._number(at + 1)
        self._line(at + 1, "if n == 0: break")
        self._line(at + 1, f"{count} = (n + 1) >> 1")
        self._line(at + 1, "if n & 1:")  # a negative count: the block's size in bytes stands in front
        self._number(at + 2)
        self._line(at + 1, f"for _ in range({count}):")
        # Each item takes a byte at least, so that a false count ends at the end of the data.
        self._line(at + 2, item(value, at + 2))
        return value

    def _number(self, at: int) -> None:
        self._line(at, "n = d[p]; p += 1")
        # Most numbers of more than one byte have two: the length of a leaf, of a session's name.
        self._line(at, "if n > 127:")
        self._line(at + 1, "m = d[p]")
        self._line(at + 1, "if m < 128: n += (m << 7) - 128; p += 1")
        self._line(at + 1, "else: n, p = more(d, p, n)")

    def _slice(self, method: str, at: int) -> str:
        # A slice stops at the end of the data; `e` does not, which is how a cut is noticed.
        value = self._name()
        self._line(at, f"{value} = d[p:e]{method}; p = e")
        return value

    def _primitive(self, kind: str, at: int) -> str:
        match kind:
            case "string" | "bytes":
                self._number(at)
                self._line(at, "if n & 1: raise ValueError('a negative length')")
                self._line(at, "e = p + (n >> 1)")
                return self._slice(".decode()" if kind == "string" else "", at)
            case "int" | "long":
                self._number(at)
                value = self._name()
                self._line(at, f"{value} = n >> 1 ^ -(n & 1)")
                return value
            case "double":
                value = self._name()
                self._line(at, f"{value} = read_double(d, p)[0]; p += 8")
                return value
            case _:
                raise NotImplementedError(f"Avro type {kind}")
