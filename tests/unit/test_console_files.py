"""The console's committed files are what its sources build, and nothing in them breaks its own policy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from oracle_api.console import assets

WEB = Path(assets.__file__).parent / "web"
STATIC = Path(assets.__file__).parent / "static"


@pytest.mark.skipif(
    shutil.which("npx") is None or not (WEB / "node_modules").exists(),
    reason="needs Node and its packages: make console",
)
def test_the_committed_files_are_what_the_sources_build(tmp_path: Path) -> None:
    subprocess.run(
        ["npx", "vite", "build"],
        cwd=WEB,
        env=os.environ | {"CONSOLE_OUT": str(tmp_path)},
        check=True,
        capture_output=True,
        timeout=120,
    )
    built = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    committed = {one.name: one.read_bytes() for one in STATIC.iterdir()}
    assert built.keys() == committed.keys()
    stale = [name for name, content in built.items() if committed[name] != content]
    assert stale == [], "out of date: run make console"


def test_the_page_holds_no_script_and_names_no_other_host() -> None:
    page = (STATIC / "index.html").read_text()
    assert len(re.findall(r"<script[^>]* src=[^>]*></script>", page)) == page.count("<script") == 1
    assert "style=" not in page
    assert "onload=" not in page
    for one in STATIC.iterdir():
        hosts = set(re.findall(r"https?://[^/\"'`\s]+", one.read_text()))
        assert hosts <= {"http://www.w3.org", "https://www.w3.org"}


def test_the_lock_names_no_registry() -> None:
    assert '"resolved"' not in (WEB / "package-lock.json").read_text()
