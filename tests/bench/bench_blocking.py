"""From a page's block to refusal everywhere: `python -m tests.bench.bench_blocking [ROUNDS]`.

Each round a call violates the pact, its page is answered with a block, and three places are asked every few
milliseconds: the gateway (a pre-flight), the SDK (`block_on`), the oracle (the report). Then the agent resumes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

import httpx

from pactstream import PactViolation, Telemetry
from pactstream.devstack import sink
from pactstream.devstack.onboarding import Onboarding
from pactstream.devstack.services import PAGING, Services
from tests.bench.figures import report
from tests.paging_stack import ROUTE
from tests.pipeline import TestAgent, new_agent, pipeline
from tests.stack import choose_mode, docker_answers, eventually, fresh_database, fresh_prefix, running

ROUNDS = 20
AIM_SECONDS = 2.0
SCOPES = ("pacts:read", "pages:act", "pages:admin", "preflight")


class Bench:
    """An agent, its key for everything, and what its team is told."""

    def __init__(self, services: Services, agent: TestAgent, notices: Queue[dict[str, Any]]) -> None:
        self._services = services
        self._agent = agent
        self._notices = notices
        key = Onboarding(services.gateway_url, services.admin_key).issue("on call", SCOPES)
        self._http = httpx.Client(headers={"X-Pact-Key": key}, trust_env=False, timeout=20)
        self._telemetry: Telemetry = agent.telemetry(services, block_on="critical")

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """A request to the gateway that must succeed."""
        answer = self._http.request(method, self._services.gateway_url + path, json=body)
        answer.raise_for_status()
        return answer

    def places(self) -> dict[str, Callable[[], bool]]:
        """What says, by place, whether the agent is refused."""
        return {"pre-flight": self._preflight, "SDK's block_on": self._sdk, "oracle's report": self._report}

    def violate(self) -> str:
        """Send a violation; the id of the page that it opens."""
        call = {"destination": f"0x{uuid.uuid4().hex}", "amount": 1, "currency": "USDC"}
        self._telemetry.session_start(session_id="s-1")
        self._telemetry.tool_call(tool="transfer_funds", params=call, session_id="s-1")
        self._telemetry.flush(30)
        page: str = self._notices.get(timeout=30)["data"]["pageId"]
        # The gateway reads pages by itself, and may be some milliseconds behind.
        eventually(lambda: page in self._open_pages(), timeout=20)
        return page

    def _open_pages(self) -> list[str]:
        return [one["pageId"] for one in self.ask("GET", "/api/v1/pages").json()["pages"]]

    def block(self, page: str) -> None:
        """Returns with the gateway's answer."""
        self.ask("POST", f"/api/v1/pages/{page}/block", {"reason": "bench"})

    def resume(self) -> None:
        """And wait until every place lets the agent through."""
        self.ask("POST", f"/api/v1/agents/{self._agent.agent_id}/resume", {"reason": "bench"})
        eventually(lambda: not any(refused() for refused in self.places().values()), timeout=20)

    def _preflight(self) -> bool:
        params = {"account": "treasury-main"}
        question = {"agentId": self._agent.agent_id, "tool": "get_balance", "params": params}
        answer = self.ask("POST", f"/api/v1/pacts/{self._agent.pact_id}/validate-call", question).json()
        return answer["valid"] is False

    def _sdk(self) -> bool:
        @self._telemetry.instrument_tool
        def get_balance(account: str) -> str:
            return account

        try:
            get_balance("treasury-main")
        except PactViolation:
            return True
        return False

    def _report(self) -> bool:
        found = self._http.get(f"{self._services.oracle_url}/api/v1/trust/{self._agent.agent_id}")
        return found.status_code == 200 and json.loads(found.content)["agentStatus"] == "paused"


def main() -> int:
    """Print the slowest of each place; exit code 1 where one is beyond the aim."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
    with (
        tempfile.TemporaryDirectory() as name,
        running(choose_mode(os.environ, docker_answers), Path(name, "stack")) as stack,
        fresh_database(stack) as database,
        pipeline(stack.kafka_bootstrap, database, fresh_prefix(), Path(name, "s"), more=(PAGING,)) as services,
        sink.receiving() as team,
    ):
        bench = Bench(services, new_agent(services), team.notices)
        bench.ask("PUT", ROUTE, {"kind": "webhook", "name": "sink", "url": team.url})
        slowest = measured(bench, rounds)
    return 0 if slowest < AIM_SECONDS else 1


def measured(bench: Bench, rounds: int) -> float:
    """Block and resume so many times, and print how long each place took; the slowest of all, in seconds."""
    taken: dict[str, list[float]] = {place: [] for place in bench.places()}

    def until(refused: Callable[[], bool]) -> float:
        eventually(refused, timeout=20, interval=0.005)
        return time.monotonic()

    with ThreadPoolExecutor(len(taken)) as threads:
        for _ in range(rounds):
            page = bench.violate()
            bench.block(page)
            answered = time.monotonic()
            waiting = {place: threads.submit(until, refused) for place, refused in bench.places().items()}
            for place, one in waiting.items():
                taken[place].append(one.result() - answered)
            bench.resume()
    for place, seconds in taken.items():
        figures = f"p50 {sorted(seconds)[rounds // 2] * 1_000:.0f} ms, max {max(seconds) * 1_000:.0f} ms"
        report(f"block to refusal by the {place}", figures, target=f"{AIM_SECONDS:g} s")
    return max(max(seconds) for seconds in taken.values())


if __name__ == "__main__":
    sys.exit(main())
