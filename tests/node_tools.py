"""Node for tests of the TypeScript SDK: the committed JavaScript, without any package from a registry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

SDK = Path(__file__).parents[1] / "sdk" / "typescript"
NODE, NPM = shutil.which("node"), shutil.which("npm")
MISSING = "" if NODE else "Node is not installed: apt-get install nodejs"


def project(directory: Path) -> Path:
    """A directory in which scripts can import `@pactstream/sdk`, as if npm had installed it."""
    scope = directory / "node_modules" / "@pactstream"
    scope.mkdir(parents=True)
    (scope / "sdk").symlink_to(SDK)
    return directory


def start(script: str, directory: Path, **environment: str) -> subprocess.Popen[str]:
    """A running script (an ES module) in a `project`, with pipes."""
    path = directory / "script.mjs"
    path.write_text(script)
    return subprocess.Popen(
        [str(NODE), "--no-warnings", str(path)],
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], **environment},
    )


def run(script: str, directory: Path, **environment: str) -> str:
    """What a script writes; it must end well."""
    with start(script, directory, **environment) as process:
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output


class Conversation:
    """A script that reads one JSON text a line and answers each with one; for `with`."""

    def __init__(self, script: str, directory: Path, **environment: str) -> None:
        self._process = start(script, directory, **environment)

    def ask(self, question: Any) -> Any:
        """The answer to a question."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, process.communicate(timeout=30)[1]
        return json.loads(line)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)
