"""What one call adds to a window: exact numbers, or fingerprints of values."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Context, Decimal, Inexact
from typing import Any, Final, NamedTuple

from pactstream.pacts import values
from pactstream.pacts.explain import MAX_ELEMENTS, kind, show
from pactstream.pacts.model import Aggregate
from pactstream.pacts.paths import EACH, Path, format_path
from pactstream.pacts.state import ZERO, fingerprint

# A number has at most 100 digits on either side of the point: sums of a quintillion of them still fit, and an
# error here would be a defect, so it is raised rather than rounded away.
EXACT: Final = Context(prec=1_000, traps=[Inexact])


class Unmeasurable(ValueError):
    """A call whose part in a window cannot be told; `value` stands at `place`, the path at fault."""

    def __init__(self, path: Path, value: Any, reason: str) -> None:
        super().__init__(reason)
        self.place = format_path(path)
        self.value = value


class Share(NamedTuple):
    """A call's part in a window: a number (what to add, or to compare for `max`), or values to tell apart."""

    figure: Decimal
    values: frozenset[bytes] = frozenset()


def share(aggregate: Aggregate, path: Path, params: dict[str, Any]) -> Share | None:
    """A call's part, or None where the parameter is absent. Raises Unmeasurable."""
    found = list(_present(params, path, 0))
    if not found:
        return None
    if aggregate == "count":
        return Share(Decimal(len(found)))
    if aggregate == "distinct":
        return Share(ZERO, frozenset(fingerprint(_text(path, value)) for value in found))
    amounts = [_amount(path, value) for value in found]
    return Share(max(amounts) if aggregate == "max" else _added(path, amounts))


def text_at(path: Path, params: dict[str, Any]) -> str:
    """The one value at a path without `[*]`, as text. Raises Unmeasurable, also where it is absent."""
    for value in _present(params, path, 0):
        return _text(path, value)
    raise Unmeasurable(path, None, "is missing or null")


def _added(path: Path, amounts: list[Decimal]) -> Decimal:
    total = ZERO
    for amount in amounts:
        if amount < 0:
            # A negative amount would give budget back: whoever may write parameters could spend without end.
            raise Unmeasurable(path, amount, f"is {show(amount)}, and a negative amount cannot be added up")
        total = EXACT.add(total, amount)
    return total


def _present(value: Any, path: Path, depth: int) -> Iterator[Any]:
    """Every value at the path that is not null."""
    if value is None:
        return
    if depth == len(path):
        yield value
        return
    segment = path[depth]
    if isinstance(segment, str):
        if not isinstance(value, dict):
            raise _stuck(value, path, depth)
        yield from _present(value.get(segment), path, depth + 1)
    elif not isinstance(value, list) or (segment is EACH and len(value) > MAX_ELEMENTS):
        raise _stuck(value, path, depth)
    elif segment is EACH:
        for element in value:
            yield from _present(element, path, depth + 1)
    elif isinstance(segment, int) and segment < len(value):
        yield from _present(value[segment], path, depth + 1)


def _stuck(value: Any, path: Path, depth: int) -> Unmeasurable:
    where = format_path(path[:depth])
    much = f" of more than {MAX_ELEMENTS} elements" if isinstance(value, list) else ""
    return Unmeasurable(path, value, f"cannot be reached, because {where} is {kind(value)}{much}")


def _text(path: Path, value: Any) -> str:
    text = values.text(value)
    if text is None:
        raise Unmeasurable(path, value, f"is {kind(value)} without a text to tell it by")
    return text


def _amount(path: Path, value: Any) -> Decimal:
    amount = values.number(value)
    if amount is None:
        raise Unmeasurable(path, value, f"is {show(value)}, which is not a number in plain decimal notation")
    if not _is_bounded(amount):
        raise Unmeasurable(path, value, f"has more than the {values.MAX_DIGITS} digits that are judged")
    return Decimal(amount)


def _is_bounded(amount: int | Decimal) -> bool:
    """Whether it has at most a hundred digits on either side of the point."""
    if not -values.NUMBER_LIMIT <= amount <= values.NUMBER_LIMIT:
        return False
    exponent = 0 if isinstance(amount, int) else amount.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -values.MAX_DIGITS
