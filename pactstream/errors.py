"""Every error Pactstream raises, and what a loop does with each.

The *type* of an error decides the reaction, never its text:

| type            | a processing loop            | an HTTP service        |
|-----------------|------------------------------|------------------------|
| `InvalidInput`  | dead letter, go on           | 4xx, with the details  |
| `Backpressure`  | pause, try the same again    | 503 with `Retry-After` |
| `Retryable`     | rebuild from the last commit | 503 with `Retry-After` |
| `Fatal`         | stop the process             | 500                    |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Detail(NamedTuple):
    """One fault in an input: where it is (`events[3].params.amount`) and what is wrong."""

    path: str
    message: str


class PactstreamError(Exception):
    """Base class of every error that Pactstream raises on purpose."""


class InvalidInput(PactstreamError):
    """The input is at fault and will be at every attempt; `details` name each fault."""

    def __init__(self, message: str, details: Sequence[Detail] = ()) -> None:
        super().__init__(message)
        self.details = tuple(details)


class Backpressure(PactstreamError):
    """A downstream part cannot take more right now; wait `retry_after_seconds` and offer the same again."""

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Retryable(PactstreamError):
    """Work since the last commit is lost but nothing is wrong with the input: begin again from the commit."""


class Fatal(PactstreamError):
    """Going on would make things worse (bad configuration, fenced, a broken invariant): stop and say why."""
