"""The TypeScript SDK as it is committed: its own tests, what it is built from, and what it may not need."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.node_tools import MISSING, NODE, NPM, SDK

needs_node = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@needs_node
def test_its_own_tests_pass() -> None:
    files = [str(one) for one in sorted((SDK / "test").glob("*.test.mjs"))]
    command = [str(NODE), "--no-warnings", "--test", *files]
    done = subprocess.run(command, cwd=SDK, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    found = re.search(r"^# pass (\d+)", done.stdout, re.MULTILINE)
    assert found is not None
    assert int(found[1]) >= 28


@pytest.mark.skipif(NPM is None, reason="npm is not installed")
def test_the_committed_files_are_what_the_sources_build(tmp_path: Path) -> None:
    for name in ("package.json", "package-lock.json", "tsconfig.json"):
        shutil.copy(SDK / name, tmp_path)
    shutil.copytree(SDK / "src", tmp_path / "src")
    for command in (
        ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
        ["run", "--silent", "build"],
    ):
        done = subprocess.run(
            [str(NPM), *command], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    built = {one.name: one.read_text() for one in (tmp_path / "dist").iterdir()}
    committed = {one.name: one.read_text() for one in (SDK / "dist").iterdir()}
    assert built.keys() == committed.keys()
    stale = [name for name, content in built.items() if committed[name] != content]
    assert stale == [], "out of date: run make typescript"


def test_it_needs_nothing_but_the_platform() -> None:
    package = json.loads((SDK / "package.json").read_text())
    assert "dependencies" not in package
    assert package["sideEffects"] is False
    for one in (SDK / "dist").glob("*.js"):
        text = one.read_text()
        for imported in re.findall(r"(?:from|import)\s*\(?\s*['\"]([^'\"]+)['\"]", text):
            assert imported.startswith("./"), f"{one.name} imports {imported}"
        assert "require(" not in text
    for target in package["exports"].values():
        assert all((SDK / path).is_file() for path in target.values())
    assert '"resolved"' not in (SDK / "package-lock.json").read_text()


def test_the_versions_are_one() -> None:
    package = json.loads((SDK / "package.json").read_text())
    pyproject = (SDK.parents[1] / "pyproject.toml").read_text()
    assert f'version = "{package["version"]}"' in pyproject
