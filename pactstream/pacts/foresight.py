"""What can be said of a call before it is made: its verdict as of now, and what it would take of each budget.

Whether the call will succeed is not known, so it is judged as if it did. What only counts other outcomes (a
window over errors, a run of errors) says nothing of this call; it refuses every call while it is beyond its
limit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from pactstream.pacts.figures import Share
from pactstream.pacts.verdict import Verdict, Violation

SUPPOSED_OUTCOME: Final = "success"


class Claim(NamedTuple):
    """What a call would add to one window, named by its measure and the key within it."""

    measure: str
    key: str
    share: Share


class Held(Protocol):
    """What is held back for other calls to come."""

    def shares(self, measure: str, key: str) -> Iterable[Share]:
        """What is held of one window."""

    def keys(self, measure: str) -> Collection[str]:
        """The keys of a measure of which anything is held."""


class _Nothing:
    def shares(self, measure: str, key: str) -> Iterable[Share]:
        return ()

    def keys(self, measure: str) -> Collection[str]:
        return ()


NOTHING_HELD: Final[Held] = _Nothing()


@dataclass(slots=True)
class Outlook:
    """What stateful conditions find in a call to come."""

    violations: list[Violation] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)


class Foreseen(NamedTuple):
    """The verdict on a call to come, and what it would take of the windows that it counts in."""

    verdict: Verdict
    claims: tuple[Claim, ...] = ()
