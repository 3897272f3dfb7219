"""CrewAI's cases, in the environment that `make test` makes for them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-crewai" / "bin" / "python"


@pytest.mark.skipif(
    not PYTHON.exists(), reason="make test without ARGS, or make .venv-crewai/.installed, makes it"
)
def test_crewai_cases() -> None:
    # Its own telemetry is off, and its third parties' warnings are theirs.
    quiet = {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "OTEL_SDK_DISABLED": "true"}
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", "-o", "filterwarnings="]
    done = subprocess.run(
        [PYTHON, "-m", "pytest", "tests/crewai_cases.py", *options],
        cwd=ROOT,
        env={**os.environ, **quiet, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert "5 passed" in done.stdout
