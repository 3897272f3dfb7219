"""Ready-made pacts to start from, each with calls that it passes and calls that it refuses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from pactstream import schema_files
from pactstream.errors import InvalidInput

_SUFFIX: Final = ".json"
_EXAMPLES: Final = ".examples.json"


@dataclass(frozen=True, slots=True)
class Example:
    """A call and what the template says of it; `violations` are (paramPath, rule), empty for a passing call."""

    note: str
    tool: str
    params: dict[str, Any]
    severity: str | None
    violations: tuple[tuple[str, str], ...]

    @property
    def valid(self) -> bool:
        """Whether the call passes."""
        return not self.violations


def names() -> list[str]:
    """The names of the templates, sorted."""
    files = (entry.name for entry in schema_files.root().joinpath("templates").iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in files if _is_template(name))


def _is_template(file_name: str) -> bool:
    return file_name.endswith(_SUFFIX) and not file_name.endswith(_EXAMPLES)


def load(name: str) -> dict[str, Any]:
    """The pact document of a template, without an `agentId`. Raises InvalidInput for an unknown name."""
    document: dict[str, Any] = json.loads(_read(name, _SUFFIX))
    return document


def examples(name: str) -> list[Example]:
    """The example calls of a template, passing ones first. Raises InvalidInput for an unknown name."""
    document = json.loads(_read(name, _EXAMPLES))
    return [_example(call) for call in (*document["passing"], *document["failing"])]


def _example(call: dict[str, Any]) -> Example:
    violations = tuple((violation["paramPath"], violation["rule"]) for violation in call.get("violations", ()))
    return Example(call["note"], call["tool"], call["params"], call.get("severity"), violations)


def _read(name: str, suffix: str) -> str:
    # Looked up rather than joined: a name from a request must not walk out of the folder.
    if name not in names():
        raise InvalidInput(f"no template is called {name[:64]!r}; there are {', '.join(names())}")
    return schema_files.read_text(f"templates/{name}{suffix}")
