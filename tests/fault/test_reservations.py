"""Budget is never promised twice: not by two gateways and two evaluators, nor through kills and pauses.

A thousand reservations at once, of agents whose budgets hold fewer. Undisturbed, exactly what fits is promised.
With an evaluator killed or paused past its session, some requests are refused or get 503, and no more is ever
promised than fits.
"""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from pactstream import clock
from pactstream.kafka import topics
from pactstream.kafka.owners import Owners, partition_of
from pactstream.settings import KafkaSettings
from tests.preflight_stack import PARTITIONS, Cluster, Spender, ask, cluster, post
from tests.stack import StackAddresses, eventually, fresh_prefix

AGENTS = 4
REQUESTS = 1_000
AMOUNT = 10
FITS = 200  # of AMOUNT, into the budget of one agent


@pytest.fixture(scope="module")
def running(stack: StackAddresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    settings = KafkaSettings(kafka_bootstrap=stack.kafka_bootstrap, kafka_topic_prefix=fresh_prefix())
    with cluster(settings, tmp_path_factory.mktemp("reservations")) as made:
        yield made


class Wave:
    """Many reservations at once, turn by turn to both gateways; what was answered, by agent."""

    def __init__(self, running: Cluster, spenders: list[Spender], *, patient: bool = False) -> None:
        self._attempts = 20 if patient else 1
        self._running = running
        self._spenders = spenders
        self.promised: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()

    async def run(self, requests: int, *, disturb_after: int | None = None, how: Any = None) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(60)) as http:
            disturbed = None
            asked = [asyncio.create_task(self._ask(http, number)) for number in range(requests)]
            for count, one in enumerate(asyncio.as_completed(asked)):
                await one
                if count == disturb_after:
                    disturbed = asyncio.create_task(asyncio.to_thread(how))
            if disturbed is not None:
                await disturbed

    async def _ask(self, http: aiohttp.ClientSession, number: int) -> None:
        spender = self._spenders[number % len(self._spenders)]
        gateway = self._running.gateways[number // len(self._spenders) % len(self._running.gateways)]
        # Repeated under its own id: what a 503 leaves undecided is not held twice.
        asked = spender.asks(AMOUNT, reserve=True, ttlSeconds=600, reservationId=str(uuid.uuid4()))
        for _ in range(self._attempts):
            status, answer = await post(http, gateway + spender.path, spender, asked)
            if status != 503:
                break
        self.statuses[status] += 1
        if status == 200:
            assert (answer["reservation"] is not None) is answer["valid"]
            self.promised[spender.agent_id] += answer["valid"]


def settled(running: Cluster, spenders: list[Spender]) -> None:
    """Wait until every agent's questions are answered at both gateways."""
    for spender in spenders:
        for gateway in running.gateways:
            eventually(lambda g=gateway, s=spender: ask(g, s) == 200, timeout=60)  # type: ignore[misc]


def test_a_thousand_at_once_get_exactly_what_fits(running: Cluster) -> None:
    spenders = running.register(AGENTS)
    wave = Wave(running, spenders, patient=True)
    asyncio.run(wave.run(REQUESTS))
    assert wave.statuses == {200: REQUESTS}
    assert wave.promised == {spender.agent_id: FITS for spender in spenders}


def test_a_killed_evaluator_takes_no_promise_with_it(running: Cluster) -> None:
    spenders = running.register(AGENTS)
    wave = Wave(running, spenders)
    asyncio.run(wave.run(REQUESTS, disturb_after=100, how=lambda: running.kill("worker-0")))
    assert set(wave.statuses) <= {200, 503}
    before = wave.promised.total()
    settled(running, spenders)
    asyncio.run(wave.run(REQUESTS))
    print(f"promised {before}, then {wave.promised.total()} of {AGENTS * FITS}; {dict(wave.statuses)}")
    assert before < AGENTS * FITS, "the kill came too late to disturb anything"
    assert max(wave.promised.values()) <= FITS
    running.start_worker("worker-0")
    settled(running, spenders)
    asyncio.run(wave.run(AGENTS * 10))
    assert max(wave.promised.values()) <= FITS


def test_a_paused_evaluator_promises_nothing_when_it_wakes(running: Cluster) -> None:
    spenders = running.register(AGENTS)
    paused = asyncio.run(addresses(running, spenders))
    victim = spenders[0].agent_id
    name = holder(running, paused[victim])
    wave = Wave(running, spenders)
    asyncio.run(wave.run(REQUESTS // 2, disturb_after=100, how=lambda: running.signal(name, signal.SIGSTOP)))
    with_others = [one for one in spenders if paused[one.agent_id] == paused[victim]]
    settled(running, spenders)  # its partitions have gone to the other
    asyncio.run(wave.run(REQUESTS // 2))
    asyncio.run(late_answers(running, name, paused[victim], with_others, wave))
    settled(running, spenders)
    asyncio.run(wave.run(AGENTS * 10))
    print(f"promised {wave.promised.total()} of {AGENTS * FITS}; {dict(wave.statuses)}")
    assert max(wave.promised.values()) <= FITS


async def addresses(running: Cluster, spenders: list[Spender]) -> dict[str, str]:
    """Where each agent's evaluator answers."""
    owners = Owners(running.settings, "evaluator", topics.BATCHES)
    found = {}
    for one in spenders:
        address = await owners.address(partition_of(one.agent_id.encode(), PARTITIONS))
        assert address is not None
        found[one.agent_id] = address
    return found


def holder(running: Cluster, address: str) -> str:
    """The worker that answers at an address."""
    for name in {*running.workers}:
        if address in (running.directory / f"{name}.log").read_text():
            return name
    raise AssertionError(f"no worker says that it answers at {address}")


async def late_answers(running: Cluster, name: str, address: str, spenders: list[Spender], wave: Wave) -> None:
    """Ask the paused evaluator itself, wake it, and count what it promises."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as http:
        asked = []
        for number in range(40):
            spender = spenders[number % len(spenders)]
            question = {
                "partition": partition_of(spender.agent_id.encode(), PARTITIONS),
                "after": -1,
                "receivedAtMicros": clock.now_micros(),
                "tenantId": "another",  # a name of its own: no hold that is there already answers for it
                "agentId": spender.agent_id,
                "pactId": spender.pact_id,
                "pactVersion": 1,
                "tool": "pay",
                "params": {"amount": AMOUNT},
                "reserve": {"reservationId": f"late-{number}"},
            }
            asked.append(asyncio.create_task(post(http, f"{address}/v1/ask", spender, question)))
        await asyncio.to_thread(eventually, lambda: all_sent(asked), 10)
        running.signal(name, signal.SIGCONT)
        answers = await asyncio.gather(*asked)
        print(f"woken, it answered {dict(Counter(status for status, _ in answers))}")
        for number, (status, answer) in enumerate(answers):
            spender = spenders[number % len(spenders)]
            wave.promised[spender.agent_id] += bool(status == 200 and answer.get("reservation"))


def all_sent(asked: list[asyncio.Task[Any]]) -> bool:
    """Whether all have begun, and none has an answer."""
    return all(not one.done() for one in asked)
