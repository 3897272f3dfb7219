"""Regular expressions of a pact: ECMAScript syntax, linear time.

They run on the Rust engine inside pydantic-core, which never backtracks: time is at most the length of the
text times the size of the expression, and both are limited. An expression is translated first, because the
same letters mean other things to that engine. Here `\\d`, `\\w`, `\\s` and `\\b` are ASCII; `$` is the end
of the text, so that a trailing newline does not slip past it; `.` excludes all of ECMAScript's line ends;
`[` and `&&` inside a class are ordinary characters. What would need backtracking (look-around,
back-references) is refused, and so is nearly all that ECMAScript's `u` flag refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from pydantic_core import SchemaError, SchemaValidator, core_schema

MAX_PATTERN: Final = 1024
MAX_REPEAT: Final = 2000
# Measured at worst: 13 ns for each character of the text and unit of size, so 0.1 s for one match.
MAX_SIZE: Final = 2048

Matcher: TypeAlias = Callable[[object], bool]


class Expression(NamedTuple):
    """A compiled expression: does it match, and how large it is once its repetitions are written out.

    `matches` takes time proportional to the text times `size`: its caller bounds the text.
    """

    matches: Matcher
    size: int


_SETS = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\x09-\x0d\x20"}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_ANY = r"[^\x0a\x0d\x{2028}\x{2029}]"
_ASSERTIONS = {"^": r"\A", "$": r"\z"}

_QUANTIFIER = re.compile(r"(?:[*+?]|\{(?P<least>\d{1,5})(?P<comma>,(?P<most>\d{0,5}))?\})\??")
_GROUP = re.compile(r"\((?:\?(?::|<(?P<name>[A-Za-z_$][\w$]*)>))?", re.ASCII)
_PROPERTY = re.compile(r"\\[pP]\{[A-Za-z_]+(?:=[A-Za-z_]+)?\}")
_HEX = re.compile(
    r"\\(?:x(?P<x>[0-9A-Fa-f]{2})|u\{(?P<long>[0-9A-Fa-f]{1,6})\}"
    r"|u(?P<high>[Dd][89ABab][0-9A-Fa-f]{2})\\u(?P<low>[Dd][C-Fc-f][0-9A-Fa-f]{2})|u(?P<u>[0-9A-Fa-f]{4}))"
)


class RegexError(ValueError):
    """An expression that is malformed or not supported; `position` counts characters from 0."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"{reason} at position {position}")
        self.position = position


def compile_regex(pattern: str, *, ignore_case: bool = False) -> Expression:
    """An expression whose `matches` tells whether a value is a string with a match in it.

    The search is unanchored, as in ECMAScript; `ignore_case` folds ASCII letters only. Raises RegexError.
    """
    if len(pattern) > MAX_PATTERN:
        raise RegexError(MAX_PATTERN, f"an expression may have {MAX_PATTERN} characters")
    translation = _Translation(pattern, ignore_case)
    return Expression(_engine(translation.run(), 0), translation.size)


def _engine(translated: str, position: int) -> Matcher:
    schema = core_schema.str_schema(pattern=translated, regex_engine="rust-regex", strict=True)
    try:
        return SchemaValidator(schema).isinstance_python
    except SchemaError as error:
        raise RegexError(position, "the engine does not support this expression") from error


class _Translation:
    """One pass over a pattern; `size` follows how large the expression grows."""

    def __init__(self, pattern: str, ignore_case: bool) -> None:
        self._pattern = pattern
        self._ignore_case = ignore_case
        self._at = 0
        self._out: list[str] = []
        self.size = 0
        self._last = 0  # size of what a quantifier would repeat; 0 where there is nothing to repeat
        self._open: list[tuple[int, int]] = []  # position and size before each open group

    def run(self) -> str:
        while self._at < len(self._pattern):
            start = self._at
            self._step(self._pattern[start])
            if self.size > MAX_SIZE:
                raise RegexError(start, "the expression grows too large")
        if self._open:
            raise RegexError(self._open[-1][0], "this group is not closed")
        return "".join(self._out)

    def _step(self, char: str) -> None:
        if char == "\\":
            self._escape()
        elif char == "[":
            self._class()
        elif char in "()":
            self._group(char)
        elif char in "*+?{":
            self._quantifier()
        elif char in "^$|":
            self._emit(_ASSERTIONS.get(char, char), 1, size=0)
        elif char in "]}":
            raise RegexError(self._at, f"a lone {char!r} is written \\{char}")
        elif char == ".":
            self._emit(_ANY, 1, size=2)
        else:
            self._emit(self._literal(ord(char)), 1, size=1)

    def _emit(self, translated: str, consumed: int, *, size: int) -> None:
        self._out.append(translated)
        self._at += consumed
        self._last = size
        self.size += size

    def _literal(self, code: int) -> str:
        swapped = self._other_case(code)
        return f"[{_hex(code)}{_hex(swapped)}]" if swapped else _hex(code)

    def _other_case(self, code: int) -> int:
        if self._ignore_case and code < 128 and chr(code).isalpha():
            return ord(chr(code).swapcase())
        return 0

    def _group(self, char: str) -> None:
        if char == ")":
            if not self._open:
                raise RegexError(self._at, "this ')' closes no group")
            _, before = self._open.pop()
            grown = max(1, self.size - before)
            self.size = before
            self._emit(")", 1, size=grown)
            return
        opening = _GROUP.match(self._pattern, self._at)
        if opening is None or self._pattern.startswith("?", opening.end()):
            raise RegexError(self._at, "look-around and inline flags are not supported")
        self._open.append((self._at, self.size))
        self._emit("(?:", len(opening[0]), size=0)

    def _quantifier(self) -> None:
        found = _QUANTIFIER.match(self._pattern, self._at)
        if found is None:
            raise RegexError(self._at, "a literal '{' is written \\{")
        if not self._last:
            raise RegexError(self._at, "there is nothing to repeat")
        repeated = self._last * (self._repeats(found) - 1)
        self._emit(found[0], len(found[0]), size=0)
        self.size += repeated

    def _repeats(self, found: re.Match[str]) -> int:
        if found["least"] is None:
            return 1
        least = int(found["least"])
        most = int(found["most"]) if found["most"] else least
        if most < least or most > MAX_REPEAT:
            raise RegexError(self._at, f"a repetition goes from less to more, up to {MAX_REPEAT}")
        return max(most, 1) + (1 if found["comma"] and not found["most"] else 0)

    def _escape(self) -> None:
        letter = self._pattern[self._at + 1 : self._at + 2]
        if letter in ("b", "B"):
            self._emit(rf"(?-u:\{letter})", 2, size=0)
        elif letter and letter in "dwsDWS":
            negation = "^" if letter.isupper() else ""
            self._emit(f"[{negation}{_SETS[letter.lower()]}]", 2, size=2 if negation else 1)
        elif letter and letter in "pP":
            name = self._property()
            self._emit(name, len(name), size=64)
        else:
            code, consumed = self._escaped_character()
            self._emit(self._literal(code), consumed, size=1)

    def _property(self) -> str:
        found = _PROPERTY.match(self._pattern, self._at)
        if found is None:
            raise RegexError(self._at, "a property is written \\p{Name}")
        _engine(found[0], self._at)
        return found[0]

    def _escaped_character(self) -> tuple[int, int]:
        letter = self._pattern[self._at + 1 : self._at + 2]
        if letter in _CONTROLS:
            return _CONTROLS[letter], 2
        if letter and letter in "xu":
            return self._hex_escape()
        if letter == "c" and re.match("[A-Za-z]", self._pattern[self._at + 2 :]):
            return ord(self._pattern[self._at + 2]) % 32, 3
        if letter == "0" and not re.match("[0-9]", self._pattern[self._at + 2 :]):
            return 0, 2
        if letter in "123456789k" and letter:
            raise RegexError(self._at, "back-references are not supported")
        if not letter or letter.isalnum() or not letter.isascii():
            raise RegexError(self._at, "unknown escape")
        return ord(letter), 2

    def _hex_escape(self) -> tuple[int, int]:
        found = _HEX.match(self._pattern, self._at)
        if found is None:
            raise RegexError(self._at, "an escape by number is \\x41, \\u0041 or \\u{41}")
        if found["high"]:
            code = 0x10000 + ((int(found["high"], 16) & 0x3FF) << 10) + (int(found["low"], 16) & 0x3FF)
        else:
            code = int(found["x"] or found["long"] or found["u"], 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise RegexError(self._at, "this is no character")
        return code, len(found[0])

    def _class(self) -> None:
        start = self._at
        size = self.size
        negated = self._pattern.startswith("[^", start)
        self._at += 2 if negated else 1
        members: list[str] = []
        while self._peek() != "]":
            if not self._peek():
                raise RegexError(start, "this class is not closed")
            members.append(self._member())
        if not members:
            raise RegexError(start, "the class is empty")
        translated = f"[{'^' if negated else ''}{''.join(members)}]"
        grown = self.size - size + (2 if negated else 1)
        self.size = size
        self._emit(translated, 1, size=grown)

    def _peek(self, ahead: int = 0) -> str:
        return self._pattern[self._at + ahead : self._at + ahead + 1]

    def _member(self) -> str:
        """One member of a class: a set such as \\d, a character, or a range."""
        begin = self._at
        first = self._class_atom()
        if self._peek() != "-" or self._peek(1) in ("]", ""):
            return first if isinstance(first, str) else self._range(first, first)
        self._at += 1
        last = self._class_atom()
        if isinstance(first, str) or isinstance(last, str):
            # `[\w-.]`: with a set at either end there is no range, and the hyphen is itself.
            ends = (end if isinstance(end, str) else self._range(end, end) for end in (first, last))
            return _hex(ord("-")).join(ends)
        if first > last:
            raise RegexError(begin, "the range runs backwards")
        return self._range(first, last)

    def _class_atom(self) -> str | int:
        char = self._peek()
        if char != "\\":
            self._at += 1
            return ord(char)
        letter = self._peek(1)
        if letter and letter in "dwsDWS":
            self._at += 2
            return f"[{'^' if letter.isupper() else ''}{_SETS[letter.lower()]}]"
        if letter and letter in "pP":
            name = self._property()
            self._at += len(name)
            self.size += 64
            return name
        if letter == "b":
            self._at += 2
            return 8
        code, consumed = self._escaped_character()
        self._at += consumed
        return code

    def _range(self, first: int, last: int) -> str:
        ranges = [(first, last)]
        if self._ignore_case:
            ranges += _cased_part(first, last, "A", "Z", 32) + _cased_part(first, last, "a", "z", -32)
        return "".join(f"{_hex(low)}-{_hex(high)}" for low, high in ranges)


def _cased_part(first: int, last: int, low: str, high: str, shift: int) -> list[tuple[int, int]]:
    """The part of a range between two ASCII letters, in the other case; empty where there is none."""
    begin, end = max(first, ord(low)), min(last, ord(high))
    return [(begin + shift, end + shift)] if begin <= end else []


def _hex(code: int) -> str:
    return rf"\x{{{code:x}}}"
