"""The TypeScript SDK in Node and in a page, against the real gateway and the real oracle."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from pactstream.devstack import ports
from pactstream.devstack.services import DEPLOYMENT
from pactstream.fetch import fetch
from tests.browsers import MISSING as NO_BROWSER
from tests.clickhouse_proxy import Proxy
from tests.console_stack import STRANGER, ConsoleStack
from tests.http_servers import serving
from tests.node_tools import MISSING as NO_NODE
from tests.node_tools import SDK, Conversation, project
from tests.pipeline import TestAgent, new_agent, rows_of
from tests.stack import eventually

VENDOR = "0xA11A5e5b1cD2aC3E4f60718293a4B5c6D7e8F901"
# Each line: a command, and what it answers.
SCRIPT = """
import { createInterface } from 'node:readline'
import { PactViolation, Telemetry, TrustClient } from '@pactstream/sdk'

const given = JSON.parse(process.env.GIVEN)
const { gateway, agentId, pactId, apiKey, vendor, stranger, oracle, issuer, jwks, logKeys } = given
const bodies = []
const keeping = (url, options) => {
  if (url.endsWith('/events')) bodies.push(options)
  return fetch(url, options)
}
const ours = { apiKey, baseUrl: gateway, agentId, pactId }
const options = { ...ours, flushIntervalSeconds: 60, fetch: keeping, onError: () => {} }
const telemetry = new Telemetry({ ...options, batchSize: 4, retryFirstSeconds: 0.02, retryMaxSeconds: 0.05 })
const strict = new Telemetry({ ...options, blockOn: 'critical', preflightTimeoutSeconds: 10 })
const client = new TrustClient({ url: oracle, issuer, jwks, logKeys })
const receipts = []
let paid = 0
const pay = async () => ({ paid: ++paid })
const named = { name: 'transfer_funds', onReceipt: (receipt) => receipts.push(receipt) }

const commands = {
  async record() {
    const transfer = telemetry.instrumentTool(pay, named)
    await telemetry.session({ metadata: { initiator: 'node' } }, async () => {
      for (const amount of [1, 2, 3, 4, 5]) await transfer({ destination: vendor, amount, currency: 'USDC' })
      await transfer({ destination: stranger, amount: 2n ** 60n, currency: 'USDC' })
    })
    while (telemetry.stats().retries < 2) await new Promise((resolve) => setTimeout(resolve, 10))
    return telemetry.stats()
  },
  async deliver() {
    const done = await telemetry.flush(60)
    const verdicts = await Promise.all(receipts.map((receipt) => receipt.verdict()))
    return { done, ...telemetry.stats(), verdicts: verdicts.map(({ valid, severity }) => [valid, severity]) }
  },
  async repeat() {
    const again = ({ signal, ...body }) => fetch(`${gateway}/api/v1/telemetry/events`, body)
    return (await Promise.all(bodies.slice(-2).map(again))).map(({ status }) => status)
  },
  async block() {
    const before = paid
    const transfer = strict.instrumentTool(pay, { name: 'transfer_funds' })
    await transfer({ destination: vendor, amount: 7, currency: 'USDC' })
    const forbidden = transfer({ destination: stranger, amount: 8, currency: 'USDC' })
    const refusal = await forbidden.catch((error) => error)
    await strict.close(30)
    return { refused: refusal instanceof PactViolation, why: refusal.message, made: paid - before }
  },
  async verify() {
    const { agentId: agent, sampleSize, recentViolations } = await client.get(agentId)
    return { agent, sampleSize, violations: recentViolations.length }
  },
}
for await (const line of createInterface({ input: process.stdin })) {
  const told = (error) => ({ error: `${error.name}: ${error.message}` })
  console.log(JSON.stringify(await commands[JSON.parse(line)]().catch(told)))
}
"""


def given(console: ConsoleStack, agent: TestAgent, gateway: str) -> dict[str, Any]:
    """What a script or a page needs, the pinned keys included."""
    oracle = console.services.oracle_url
    return {
        "gateway": gateway,
        "agentId": agent.agent_id,
        "pactId": agent.pact_id,
        "apiKey": agent.api_key,
        "vendor": VENDOR,
        "stranger": STRANGER,
        "oracle": oracle,
        "issuer": DEPLOYMENT,
        "jwks": json.loads(fetch(f"{oracle}/.well-known/jwks.json")),
        "logKeys": fetch(f"{oracle}/ledger/keys").decode(),
    }


def types_of(console: ConsoleStack, agent: TestAgent) -> Counter[str]:
    """What the agent sent, each event once in the ledger; pages that its violations opened stand there too."""
    rows = rows_of(console.services, agent.agent_id)
    assert len({row[1] for row in rows}) == len(rows)
    return Counter(row[2] for row in rows if row[2] != "page")


@pytest.mark.skipif(bool(NO_NODE), reason=NO_NODE)
def test_node_records_through_an_outage_repeats_is_refused_and_verifies(
    console: ConsoleStack, tmp_path: Path
) -> None:
    agent = new_agent(console.services)
    with Proxy(("127.0.0.1", console.services.gateway_port)) as proxy:
        proxy.down = True
        facts = given(console, agent, f"http://127.0.0.1:{proxy.port}")
        with Conversation(SCRIPT, project(tmp_path), GIVEN=json.dumps(facts)) as node:
            waiting = node.ask("record")
            assert (waiting["recorded"], waiting["pending"], waiting["dropped"]) == (8, 8, 0)
            proxy.down = False
            delivered = node.ask("deliver")
            assert (delivered["done"], delivered["accepted"]) == (True, 8)
            assert delivered["verdicts"] == [[True, None]] * 5 + [[False, "critical"]]
            assert node.ask("repeat") == [200, 200]
            refused = node.ask("block")
            assert (refused["refused"], refused["made"]) == (True, 1)
            assert "destination breaks allowList" in refused["why"]
            expected = {"session_start": 1, "session_end": 1, "tool_call": 8}
            eventually(lambda: types_of(console, agent) == expected, timeout=30)
            report = eventually(lambda: _covering(node.ask("verify"), 8), timeout=30, interval=0.5)
            assert (report["agent"], report["violations"]) == (agent.agent_id, 2)
            # Nothing came later of the repeated batches.
            assert types_of(console, agent) == expected


def _covering(report: dict[str, Any], sample_size: int) -> dict[str, Any]:
    """The report, or nothing until it covers so many calls. It and the tiles may lag; it is never wrong."""
    error = report.get("error", "")
    unready = error.startswith(("UnknownAgent", "ReportStale", "OracleUnavailable")) or error.endswith(
        "is missing"
    )
    assert unready or not error, error
    return report if report.get("sampleSize") == sample_size else {}


class _Files(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.removeprefix("/sdk/")
        path = SDK / "dist" / name
        known = path.parent == SDK / "dist" and path.suffix == ".js" and path.is_file()
        page = b'<!doctype html><link rel="icon" href="data:,"><title>agent</title>'
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if known else "text/html")
        self.end_headers()
        self.wfile.write(path.read_bytes() if known else page)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def origin(console: ConsoleStack) -> Iterator[str]:
    """Serves an empty page and the SDK's files at the origin that the gateway knows."""
    with serving(ThreadingHTTPServer((ports.LOOPBACK, console.page_port), _Files)) as address:
        yield address


IN_PAGE = """
async ({ gateway, agentId, pactId, apiKey, vendor, stranger }) => {
  const { PactViolation, Telemetry } = await import('/sdk/index.js')
  const options = { apiKey, baseUrl: gateway, agentId, pactId, flushIntervalSeconds: 600 }
  const telemetry = new Telemetry({ ...options, blockOn: 'critical', preflightTimeoutSeconds: 10 })
  const refused = await telemetry.session({}, async (session) => {
    const transfer = session.instrumentTool(async () => 'paid', { name: 'transfer_funds' })
    await transfer({ destination: vendor, amount: 1, currency: 'USDC' })
    const forbidden = transfer({ destination: stranger, amount: 2, currency: 'USDC' })
    return forbidden.catch((error) => error instanceof PactViolation)
  })
  const done = await telemetry.flush(30)
  // Left in the buffer: it goes when the page does.
  telemetry.toolCall({ tool: 'transfer_funds', params: { destination: vendor, amount: 3, currency: 'USDC' } })
  return { refused, done, accepted: telemetry.stats().accepted, pending: telemetry.stats().pending }
}
"""
VERIFIES = """
async ({ oracle, issuer, jwks, logKeys, agentId }) => {
  const { TrustClient } = await import('/sdk/trust.js')
  const options = { url: oracle, jwks, logKeys }
  const good = await new TrustClient({ ...options, issuer }).get(agentId)
  const another = new TrustClient({ ...options, issuer: 'other.example' }).get(agentId)
  const other = await another.catch((error) => error.name)
  return { sampleSize: good.sampleSize, other }
}
"""


@pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)
def test_a_page_of_a_named_origin_records_and_verifies(console: ConsoleStack, page: Page, origin: str) -> None:
    agent = new_agent(console.services)
    facts = given(console, agent, console.services.gateway_url)
    page.goto(origin)
    assert page.evaluate(IN_PAGE, facts) == {"refused": True, "done": True, "accepted": 4, "pending": 1}
    page.goto("about:blank")
    eventually(lambda: types_of(console, agent)["tool_call"] == 3, timeout=30)

    def covered() -> bool:
        report = json.loads(fetch(f"{facts['oracle']}/api/v1/trust/{agent.agent_id}"))
        return bool(report["sampleSize"] == 3)

    eventually(covered, timeout=30, interval=0.5)
    page.goto(origin)
    assert page.evaluate(VERIFIES, facts) == {"sampleSize": 3, "other": "ReportIssuerError"}
