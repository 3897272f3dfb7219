"""Links in pages over two gateways on a real Kafka: what one has begun, the other does not do again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ingest_gateway import page_links, wiring
from ingest_gateway.page_links import PageLinks
from ingest_gateway.parts import Parts
from ingest_gateway.settings import GatewaySettings
from pactstream import avro, clock
from pactstream.control.tenants import Agent, Tenant
from pactstream.errors import Backpressure
from pactstream.kafka import topics
from pactstream.paging.keys import Link, create_key
from pactstream.web import Refused
from tests.gateway_tools import ACME, ATLAS
from tests.kafka_tools import create_topics, produce, read_all
from tests.unit.test_gateway_pages import PAGE, page_of

LINK = Link(ACME, PAGE, "acknowledge", clock.now_micros() // clock.MICROS_PER_SECOND + 3_600)


@pytest.fixture
def gateways(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> Iterator[list[Parts]]:
    create_key(tmp_path)
    settings = GatewaySettings(
        kafka_bootstrap=kafka_bootstrap,
        kafka_topic_prefix=topic_prefix,
        key_dir=tmp_path,
        gateway_start_seconds=30,
    )
    create_topics(settings)
    tenant = Tenant(ACME, "Acme", "tenant-acme", 1).with_agent(Agent(ATLAS, "Atlas", "active", 1))
    produce(settings, topics.TENANTS, [(ACME.encode(), tenant.encode())])
    produce(settings, topics.PAGES, [(PAGE.encode(), page_of().encode())])
    with ExitStack() as closing:
        made = [wiring.build(settings) for _ in range(2)]
        for parts in made:
            closing.callback(parts.close)
        yield made


def use(parts: Parts) -> int:
    """The status of one POST."""
    links = parts.page_links
    assert isinstance(links, PageLinks)
    try:
        asyncio.run(links.act(LINK, "", 0, "r"))
    except Refused as refused:
        return refused.status
    return 200


def acknowledged(gateways: list[Parts]) -> list[str]:
    settings: Any = gateways[0].publisher._settings
    batches = [avro.decode_as("TelemetryBatch", one.value()) for one in read_all(settings, topics.BATCHES)]
    return [event["event_id"] for batch in batches for event in batch["events"]]


def test_of_many_at_once_over_two_gateways_one_acts(gateways: list[Parts]) -> None:
    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(use, gateways * 2))
    assert statuses[0] == 200
    assert set(statuses[1:]) <= {409, 410}
    assert [use(one) for one in gateways] == [410, 410]
    assert len(acknowledged(gateways)) == 1


def test_what_one_gateway_began_and_did_not_finish_another_may_do(
    gateways: list[Parts], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = gateways

    async def dies(*_: object, **__: object) -> None:
        raise Backpressure("the process dies here")

    with monkeypatch.context() as patched:
        patched.setattr(first.publisher, "publish", dies)
        with pytest.raises(Backpressure):
            use(first)
    assert use(second) == 409
    monkeypatch.setattr(page_links, "BEGUN_MICROS", 0)
    assert use(second) == 200
    assert use(first) == 410
    assert len(acknowledged(gateways)) == 1
