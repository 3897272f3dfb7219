"""The examples in `docs/typescript.md` run as printed, one after the other, in Node without any package."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.node_tools import MISSING, project, run
from tests.published_ledger import published
from tests.sdk_gateway import KEY, VIOLATED
from tests.sdk_gateway import serving as gateway_serving
from tests.trust_oracle import AGENT, ENTRIES, ISSUER
from tests.trust_oracle import serving as oracle_serving

GUIDE = Path(__file__).parents[2] / "docs" / "typescript.md"

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def test_the_guides_examples_run(tmp_path: Path) -> None:
    blocks = re.findall(r"^```js\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) > 6
    with gateway_serving() as gateway, oracle_serving(tmp_path) as oracle:
        gateway.preflight = VIOLATED
        oracle.show(published(ENTRIES[:300], ()))
        (tmp_path / "jwks.json").write_text(json.dumps(oracle.jwks))
        (tmp_path / "keys").write_bytes(oracle.files["ledger/keys"])
        output = run(
            "\n".join(blocks),
            project(tmp_path),
            PACTSTREAM_API_KEY=KEY,
            PACTSTREAM_URL=gateway.url,
            ISSUER=ISSUER,
            JWKS=str(tmp_path / "jwks.json"),
            LOG_KEYS=str(tmp_path / "keys"),
            ORACLE_URL=oracle.url,
            AGENT_ID=str(AGENT),
        )
        events = gateway.events
    assert Counter(event["type"] for event in events) == {
        "session_start": 2,
        "session_end": 2,
        "tool_call": 5,
        "response": 1,
    }
    assert [event["params"] for event in events if event.get("tool") == "search"] == [{"query": "weather"}]
    assert {"success", "denied", "aborted"} <= {event.get("outcome") for event in events}
    assert "destination breaks allowList" in output
    assert "recorded: 9" in output
    assert "composite 96" in output


def test_the_end_of_the_process_sends_what_is_left_and_keeps_its_deadline(tmp_path: Path) -> None:
    script = """
        import { Telemetry } from '@pactstream/sdk'
        const agentId = '76cf31d6-ffe3-4a5c-8748-021114aa8066'
        const make = (baseUrl, closeTimeoutSeconds) => new Telemetry({
          apiKey: 'k', baseUrl, agentId, closeTimeoutSeconds, flushIntervalSeconds: 600,
          onError: ({ kind, count }) => console.log(kind, count),
        })
        make(process.env.PACTSTREAM_URL, 30).toolCall({ tool: 'last' })
        make('http://127.0.0.1:1', 0.2).toolCall({ tool: 'lost' })
    """
    with gateway_serving() as gateway:
        output = run(script, project(tmp_path), PACTSTREAM_URL=gateway.url)
        assert [event["tool"] for event in gateway.events] == ["last"]
    assert "dropped 1" in output or "delayed 1" in output
