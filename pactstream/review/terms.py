"""What demands ask for, in a form that compares: is one narrower than the other?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal, Self, TypeAlias

from pactstream.pacts import SEVERITIES, Severity
from pactstream.pacts.unknown import Known
from pactstream.pacts.values import fold_case
from pactstream.pacts.verdict import shortened

Direction: TypeAlias = Literal["stricter", "looser", "differs"]

_MAX_SHOWN: Final = 5


def opposite(direction: Direction | None) -> Direction | None:
    """The way back."""
    if direction == "stricter":
        return "looser"
    return "stricter" if direction == "looser" else direction


def severity_direction(old: Severity | None, new: Severity | None) -> Direction:
    """Graver is stricter."""
    if old is None or new is None:
        return "differs"
    return "stricter" if SEVERITIES.index(new) < SEVERITIES.index(old) else "looser"


def together(directions: Iterable[Direction | None]) -> Direction | None:
    """Several changes at once: their common way, or none for certain."""
    known = {one for one in directions if one is not None}
    return known.pop() if len(known) == 1 else "differs" if known else None


def lower_is_stricter(old: Decimal | int | None, new: Decimal | int | None) -> Direction | None:
    """Of two upper bounds; None stands for no bound."""
    if old == new:
        return None
    if old is None:
        return "stricter"
    return "looser" if new is None or new > old else "stricter"


@dataclass(frozen=True, slots=True)
class Terms:
    """Base of what demands ask for."""

    def compare(self, new: Self) -> Direction | None:
        """Whether `new`, in the place of this, is stricter; called only where they differ."""
        return "differs"

    def change(self, new: Self) -> str:
        """Both in words."""
        return f"{self} → {new}"


@dataclass(frozen=True, slots=True)
class Listed(Terms):
    """An allow-list or a deny-list."""

    allow: bool
    entries: frozenset[str]
    ignore_case: bool
    nfkc: bool

    def __str__(self) -> str:
        return _some(self.entries) + _options(self.ignore_case, self.nfkc)

    def compare(self, new: Self) -> Direction | None:
        """Allowing fewer or denying more is stricter; matching in any case widens a list."""
        if self.nfkc != new.nfkc:
            return "differs"
        wider, narrower = _covers(new, self), _covers(self, new)
        if wider == narrower:
            return None if wider else "differs"
        return "looser" if wider == self.allow else "stricter"

    def change(self, new: Self) -> str:
        """What came and what went, rather than two long lists."""
        come, gone = new.entries - self.entries, self.entries - new.entries
        if (self.ignore_case, self.nfkc) != (new.ignore_case, new.nfkc):
            return f"{self} → {new}"
        parts = [f"+ {_some(come)}"] if come else []
        return ", ".join([*parts, f"− {_some(gone)}"] if gone else parts)


@dataclass(frozen=True, slots=True)
class Matches(Terms):
    """A regular expression."""

    pattern: str
    ignore_case: bool
    nfkc: bool

    def __str__(self) -> str:
        return f"/{shortened(self.pattern, 80)}/{_options(self.ignore_case, self.nfkc)}"


@dataclass(frozen=True, slots=True)
class Between(Terms):
    """A range of numbers, ends included."""

    least: Decimal | None
    most: Decimal | None

    def __str__(self) -> str:
        if self.least is None or self.most is None:
            return f"at most {number(self.most)}" if self.least is None else f"at least {number(self.least)}"
        return f"{number(self.least)} to {number(self.most)}"

    def compare(self, new: Self) -> Direction | None:
        """The range within the other is the stricter one."""
        low = None if self.least is None else -self.least, None if new.least is None else -new.least
        return together([lower_is_stricter(*low), lower_is_stricter(self.most, new.most)])


@dataclass(frozen=True, slots=True)
class Amount(Terms):
    """A highest amount in one currency."""

    amount: Decimal
    currency: str
    currency_path: str
    allow_negative: bool

    def __str__(self) -> str:
        negative = ", negative too" if self.allow_negative else ""
        return f"at most {number(self.amount)} {self.currency} (at {self.currency_path}){negative}"

    def compare(self, new: Self) -> Direction | None:
        """Comparable only in one currency, read from one place."""
        if (self.currency, self.currency_path) != (new.currency, new.currency_path):
            return "differs"
        sign: Direction | None = None
        if self.allow_negative != new.allow_negative:
            sign = "looser" if new.allow_negative else "stricter"
        return together([lower_is_stricter(self.amount, new.amount), sign])


@dataclass(frozen=True, slots=True)
class Names(Terms):
    """The only parameters that a tool may have: as the tree that judging uses, and as paths for people."""

    tree: Known
    paths: tuple[str, ...] = field(compare=False)

    def __str__(self) -> str:
        return f"nothing but {_some(self.paths)}" if self.paths else "none at all"

    def compare(self, new: Self) -> Direction | None:
        """Knowing fewer names is stricter."""
        wider, narrower = _knows(new.tree, self.tree), _knows(self.tree, new.tree)
        if wider == narrower:
            return None if wider else "differs"
        return "looser" if wider else "stricter"


@dataclass(frozen=True, slots=True)
class Bounds(Terms):
    """Figures with a way to each: `up` means that a higher one is looser; None stands for no bound.

    `fixed` must be equal for the figures to be comparable; `shown` is what people read.
    """

    figures: tuple[tuple[Decimal | int | None, Literal["up", "down"]], ...]
    fixed: tuple[Any, ...]
    shown: str

    def __str__(self) -> str:
        return self.shown

    def compare(self, new: Self) -> Direction | None:
        """By each figure; together only if all agree."""
        if self.fixed != new.fixed:
            return "differs"
        ways = []
        for (old, way), (now, _) in zip(self.figures, new.figures, strict=True):
            direction = lower_is_stricter(old, now)
            ways.append(direction if way == "up" else opposite(direction))
        return together(ways)


def number(value: Decimal | int | None) -> str:
    """In plain notation."""
    return "-" if value is None else format(Decimal(value), "f")


def _covers(wide: Listed, narrow: Listed) -> bool:
    """Whether every text that is on `narrow` is on `wide`."""
    if wide.ignore_case:
        return {fold_case(one) for one in narrow.entries} <= wide.entries
    if narrow.ignore_case and any(_has_letters(one) for one in narrow.entries):
        return False  # spelt in another case, an entry is on one list and not on the other
    return narrow.entries <= wide.entries


def _knows(wide: Known, narrow: Known) -> bool:
    """Whether every name that `narrow` knows is known to `wide`; None: all that lies below is known."""
    for name, below in narrow.items():
        if name not in wide:
            return False
        inner = wide[name]
        if inner is not None and (below is None or not _knows(inner, below)):
            return False
    return True


def _has_letters(entry: str) -> bool:
    return any(one.isascii() and one.isalpha() for one in entry)


def _some(entries: Iterable[str]) -> str:
    names = sorted(entries)
    shown = ", ".join(f'"{shortened(one, 64)}"' for one in names[:_MAX_SHOWN])
    return f"{shown} and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else shown


def _options(ignore_case: bool, nfkc: bool) -> str:
    return (" in any case" if ignore_case else "") + (" after NFKC" if nfkc else "")
