"""How the dev stack tells a person what it is doing, and how tests keep it quiet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn


class Reporter(Protocol):
    """Called from several threads at once."""

    def say(self, message: str) -> None:
        """Tell one line."""

    def download(self, label: str, total_bytes: int) -> AbstractContextManager[Callable[[int], None]]:
        """Show one download; the function it yields is called with the bytes of each further piece."""


class Quiet:
    """Says nothing."""

    def say(self, message: str) -> None:
        """Drop the line."""

    @contextmanager
    def download(self, label: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        """Show nothing."""
        yield lambda _count: None


class Terminal:
    """Lines and a progress bar for a person; plain lines where the output is not a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)

    def say(self, message: str) -> None:
        """Print one line."""
        self._console.print(message, markup=False, highlight=False)

    @contextmanager
    def download(self, label: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        """Show a bar that fills as bytes arrive."""
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(label, total=total_bytes)
            yield lambda count: progress.advance(task, count)
