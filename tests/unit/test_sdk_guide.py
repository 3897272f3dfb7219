"""The examples in `docs/sdk.md` run as printed, one after the other."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.sdk_gateway import AGENT, KEY, PACT, VIOLATED, serving

GUIDE = Path(__file__).parents[2] / "docs" / "sdk.md"


def test_the_guides_examples_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) > 6
    namespace: dict[str, Any] = {"AGENT": AGENT, "PACT": PACT, "approved": False, "asyncio": asyncio}
    with serving() as gateway:
        gateway.preflight = VIOLATED
        monkeypatch.setenv("PACTSTREAM_API_KEY", KEY)
        monkeypatch.setenv("PACTSTREAM_URL", gateway.url)
        try:
            for number, block in enumerate(blocks):
                exec(compile(block, f"docs/sdk.md, example {number + 1}", "exec"), namespace)
        finally:
            for name in ("tel", "strict", "watched"):
                namespace[name].close()
        tools = Counter(event.get("tool") for event in gateway.events)
        assert {"transfer_funds", "search", "refund", "lookup"} < set(tools)
        calls = [event["params"] for event in gateway.events if event.get("tool") == "search"]
        assert calls == [{"query": "weather"}] * 2
        assert "denied" in {event.get("outcome") for event in gateway.events}
        assert "aborted" in {event.get("outcome") for event in gateway.events}
    assert (tmp_path / "telemetry" / "sent.jsonl").exists()
    output = capsys.readouterr().out
    assert "destination breaks allowList" in output
    assert "Stats(recorded=" in output
