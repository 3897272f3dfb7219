"""Every command that the documentation shows: taken from the fences `sh` and `console` of its pages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>sh|console)\n(?P<body>.*?)^ *```", re.DOTALL | re.MULTILINE
)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*=.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a page: its words without variables before it and without redirections."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"

    @property
    def words(self) -> tuple[str, ...]:
        """What a shell would run; empty for a line that only sets variables."""
        found = list(self.everything)
        if found[0] == "export" or re.match(r"[A-Z_]+=\$\(", found[0]):
            return ()
        while found and _VARIABLE.fullmatch(found[0]):
            found.pop(0)
        if ">" in found:
            found = found[: found.index(">")]
        return tuple(found)

    @property
    def target(self) -> str | None:
        """The file that its output goes to."""
        words = self.everything
        return words[words.index(">") + 1] if ">" in words else None

    @property
    def variables(self) -> dict[str, str]:
        """What is set for this command alone."""
        found = {}
        for word in self.everything:
            if not _VARIABLE.fullmatch(word):
                break
            name, _, value = word.partition("=")
            found[name] = value
        return found

    @property
    def everything(self) -> tuple[str, ...]:
        """All words as a shell splits them; pipes, redirections and the like are words of their own."""
        lexer = shlex.shlex(self.text, posix=True, punctuation_chars=">|&;")
        lexer.whitespace_split = True
        return tuple(lexer)


def commands() -> Iterator[Command]:
    """All of them, in the order of the pages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for fence in _FENCE.finditer(text):
            first = text.count("\n", 0, fence.start("body")) + 1
            yield from _of_fence(page.relative_to(ROOT).as_posix(), first, fence)


def _of_fence(page: str, first: int, fence: re.Match[str]) -> Iterator[Command]:
    """In `console`, only what stands behind a prompt; a line that ends in `\\` or an open quote goes on."""
    pending, started, joint = "", 0, ""
    for number, raw in enumerate(fence["body"].splitlines(), first):
        line = raw.removeprefix(fence["indent"])
        if not pending:
            started = number
            if fence["language"] == "console":
                if not line.startswith("$ "):
                    continue
                line = line.removeprefix("$ ")
        pending = f"{pending}{joint}{line}"
        if line.endswith("\\"):
            pending, joint = pending[:-1], ""
            continue
        command = Command(page, started, pending.strip())
        try:
            words = command.everything
        except ValueError:
            joint = "\n"
            continue  # a quote is open
        pending = joint = ""
        if words:
            yield command
    if pending:
        raise ValueError(f"{page}:{started}: a command without an end: {pending}")
