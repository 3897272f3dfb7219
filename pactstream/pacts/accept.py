"""The quick way to a yes: one generated function per tool that tells from the bytes that a call breaks no rule.

The rules' paths make a msgspec type, so that decoding checks most of the structure: in an object whose members
are all named by rules, nothing is looked up. The answer no means "not shown this way"; then the exact way
decides, with the strict decoder. So this function may be as narrow as it likes, but its yes must be certain:

- It reads the same numbers as the strict decoder (`values.decode`), exactly, and applies the same expressions
  (`source`). What the two decoders take differently (nesting beyond 200 levels, integers beyond 4,300 digits)
  is not reached: a member without checks is accepted only if it is a scalar with a text.
- No key stands twice. msgspec would keep the last; but each key is followed by a colon, and every other colon
  stands in a string. So if the text has just as many colons as there are members found, there is no other key.
  It also shows that no member is unknown. A colon in a string (a URL) means no more than the exact way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta

from pactstream.pacts import values
from pactstream.pacts.explain import MAX_ELEMENTS
from pactstream.pacts.model import AllowList, DenyList, MaxAmount, ParamBinding, Rule
from pactstream.pacts.paths import EACH, Path
from pactstream.pacts.source import TEXT_CHECKS, Source

Acceptor: TypeAlias = Callable[[bytes], bool]

# What decoding raises on what it does not take: MsgspecError for form and type, ValueError for bad UTF-8,
# ArithmeticError for exponents beyond what decimals hold, RecursionError for endless nesting.
_FAULTS: Final = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)
_COLON: Final = ord(":")
# A list of allowed texts up to this length becomes part of the type, and is looked up while decoding.
_MAX_LITERALS: Final = 256


class _Unsupported(Exception):
    """Rules of a kind that are left to the exact way."""


def acceptor(bindings: list[ParamBinding]) -> Acceptor:
    """The function that answers whether the parameters of one tool, in JSON, are known to break no rule."""
    root = _Node()
    try:
        for binding in bindings:
            for rule in binding.rules:
                root.plant(rule)
        return _AcceptorSource(root).function()
    except (_Unsupported, ValueError):  # ValueError: a name that msgspec's types cannot have
        return _never


def _never(_: bytes) -> bool:
    return False


@dataclass(slots=True)
class _Node:
    """What rules demand of one value: of itself, and of what it contains."""

    rules: list[Rule] = field(default_factory=list)
    members: dict[str, _Node] = field(default_factory=dict)
    each: _Node | None = None
    required: bool = False

    def plant(self, rule: Rule) -> None:
        """Add a rule whose path begins at this node. Raises _Unsupported."""
        self._at(rule.path, rule.required).rules.append(rule)
        for check in rule.checks:
            if isinstance(check, MaxAmount):
                beside = check.currency_path[:-1]
                if beside != rule.path[: len(beside)] or not isinstance(check.currency_path[-1], str):
                    raise _Unsupported
                self._at(check.currency_path, required=False)

    def _at(self, path: Path, required: bool) -> _Node:
        node = self
        for segment in path:
            if isinstance(segment, str):
                below = node.members.setdefault(segment, _Node())
            elif segment is EACH:
                node.each = below = node.each or _Node()
            else:
                raise _Unsupported
            below.required |= required
            node = below
        return node

    def encoded(self) -> Any:
        """What msgspec is to decode. Raises _Unsupported."""
        present = self.present()
        return present if self.required or present is Any else present | None

    def present(self) -> Any:
        """The same for a value that is not null."""
        if not self.members and self.each is None:
            return self._scalar()
        if any(rule.checks for rule in self.rules) or (self.members and self.each):
            raise _Unsupported
        if self.each is not None:
            least = 1 if self.each.required else 0
            return Annotated[list[self.each.encoded()], Meta(min_length=least, max_length=MAX_ELEMENTS)]  # type: ignore[misc]
        return self.structure()

    def structure(self) -> type[msgspec.Struct]:
        """A type for an object with these members."""
        fields = [
            (f"f{at}", node.encoded()) if node.required else (f"f{at}", node.encoded(), None)
            for at, node in enumerate(self.members.values())
        ]
        # Required ones first, as in any signature: the order of names does not matter otherwise.
        fields.sort(key=len)
        names = {f"f{at}": name for at, name in enumerate(self.members)}
        return msgspec.defstruct("Params", fields, rename=names, gc=False)

    def _scalar(self) -> Any:
        """A type for the texts that pass, where only texts can; else any, and the function checks."""
        checks = [check for rule in self.rules for check in rule.checks]
        plain = not any(rule.ignore_case or rule.nfkc for rule in self.rules)
        if not checks or not plain or not all(isinstance(check, TEXT_CHECKS) for check in checks):
            return Any
        lists = [check.entries for check in checks if isinstance(check, AllowList | DenyList)]
        if any(_is_shared(text) for entries in lists for text in entries):
            return Any
        short = [
            one.entries for one in checks if isinstance(one, AllowList) and len(one.entries) <= _MAX_LITERALS
        ]
        return Literal[tuple(sorted(short[0]))] if short else str


def _is_shared(entry: str) -> bool:
    """Whether a number or a boolean may have this text too."""
    return entry in ("true", "false") or values.number(entry) is not None


class _AcceptorSource:
    """The lines of an acceptor: what decoding has not checked already, and the count of members."""

    def __init__(self, root: _Node) -> None:
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(root.structure(), float_hook=Decimal)
        self._root = root
        self._source = Source("raw", decode=decoder.decode, faults=_FAULTS)
        self._line = self._source.line
        self._variables = 0

    def function(self) -> Acceptor:
        self._line(1, f"if len(raw) > {values.MAX_PARAMS_BYTES}: return False")
        self._line(1, "try: v0 = decode(raw)")
        self._line(1, "except faults: return False")
        self._line(1, f"k = {len(self._root.members)}")
        self._members(self._root, (), ["v0"], 1)
        self._line(1, f"return raw.count({_COLON}) == k")
        return self._source.function()

    def _members(self, node: _Node, path: Path, chain: list[str], indent: int) -> None:
        """Lines for an object; `chain` names the values along `path`, the object's own last."""
        for at, (name, member) in enumerate(node.members.items()):
            value = self._variable()
            self._line(indent, f"{value} = {chain[-1]}.f{at}")
            inside = indent
            if not member.required:
                self._line(indent, f"if {value} is None: k -= 1")
                self._line(indent, "else:")
                inside += 1
            self._value(member, (*path, name), [*chain, value], inside)

    def _value(self, node: _Node, path: Path, chain: list[str], indent: int) -> None:
        """Lines for a value that is not None."""
        if node.members:
            self._line(indent, f"k += {len(node.members)}")
            self._members(node, path, chain, indent)
        elif node.each is not None:
            element = self._variable()
            self._line(indent, f"for {element} in {chain[-1]}:")
            inside = indent + 1
            if not node.each.required:
                self._line(inside, f"if {element} is None: continue")
            self._value(node.each, (*path, EACH), [*chain, element], inside)
        else:
            self._scalar(node, path, chain, indent)

    def _scalar(self, node: _Node, path: Path, chain: list[str], indent: int) -> None:
        value, kind = chain[-1], node.present()
        if kind is Any and not any(rule.checks for rule in node.rules):
            self._line(indent, f"if type({value}) is not str and text({value}) is None: return False")
        allowed = frozenset() if kind in (Any, str) else frozenset(get_args(kind))
        for rule in node.rules:
            if kind is Any:
                self._source.readings(indent, rule, value)
            else:
                self._line(indent, f"t = {value}")
            for check in rule.checks:
                if allowed and isinstance(check, AllowList) and check.entries >= allowed:
                    continue
                currency = self._currency(check.currency_path, chain) if isinstance(check, MaxAmount) else ""
                fails = self._source.fails(rule, check, currency, is_text=kind is not Any)
                self._line(indent, f"if {fails}: return False")

    def _currency(self, path: Path, chain: list[str]) -> str:
        """The call's currency: a member of one of the objects on the way to the amount."""
        holder = self._root
        for segment in path[:-1]:
            below = holder.each if segment is EACH else holder.members[str(segment)]
            if below is None:
                raise _Unsupported
            holder = below
        return f"{chain[len(path) - 1]}.f{list(holder.members).index(str(path[-1]))}"

    def _variable(self) -> str:
        self._variables += 1
        return f"v{self._variables}"
