"""The sealer's two loops on the test's stack, and what they wrote."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

from pydantic import SecretStr

from ledger_sealer import wiring
from ledger_sealer.projector import Projector
from ledger_sealer.published import PublishedSegment, read_segment
from ledger_sealer.rows import sealed_events
from ledger_sealer.segment_source import SegmentSource
from ledger_sealer.settings import SealerSettings
from pactstream.clickhouse import migrate
from pactstream.clickhouse.client import ClickHouse, Row
from pactstream.clickhouse.verify import LogReport, verify_ledger
from pactstream.errors import Retryable
from pactstream.kafka import topics
from pactstream.ledger.audit import Finding
from pactstream.ledger.tile_writer import SegmentWriter, TileWriter
from pactstream.settings import ClickHouseSettings, KafkaSettings, ServiceSettings
from pactstream.signing.keys import SigningKey, create_keys
from tests.kafka_tools import PARTITIONS, create_topics, produce, read_all
from tests.published_ledger import write
from tests.sealer_tools import Evaluated
from tests.stack import ClickHouseAddress, eventually

TABLES = ("room_events", "room_event_payloads", "ledger_segments", "pacts")
_TIMEOUT_SECONDS = 60


class Flaky(ClickHouse):
    """Fails chosen inserts: before ClickHouse has the block, or after, when only the answer is lost."""

    def __init__(self, settings: SealerSettings) -> None:
        super().__init__(settings)
        self.fail_at: dict[str, bool] = {}
        """Table to whether the block is persisted before the next insert into it fails; once."""
        self.down = False

    def insert_encoded(
        self, table: str, columns: Sequence[str], block: bytes, *, token: str | None = None
    ) -> None:
        persisted = self.fail_at.pop(table, None)
        if self.down or persisted is False:
            raise Retryable("planned: it never arrived")
        super().insert_encoded(table, columns, block, token=token)
        if persisted:
            raise Retryable("planned: the answer was lost")


@dataclass(frozen=True)
class Setup:
    """One test's topics, database and key."""

    settings: SealerSettings
    key: SigningKey
    database: Flaky

    def sealer(self) -> Callable[[Event], None]:
        return wiring.build(self.settings, self.key).run

    def projector(self) -> Callable[[Event], None]:
        return Projector(self.settings, self.database).run

    def write(self, records: Sequence[tuple[bytes, bytes | None]], partition: int = 0) -> None:
        """Add records to `telemetry.evaluated`."""
        produce(self.settings, topics.EVALUATED, records, partition)

    def published(self) -> list[PublishedSegment]:
        """Every segment published, log by log."""
        messages = read_all(self.settings, topics.CHECKPOINTS)
        return [read_segment(message.value()) for message in messages]

    def publish(self, directory: Path) -> None:
        """The leaves, headers, checkpoint and key of every log, as a web server serves them."""
        writers: dict[int, tuple[TileWriter, SegmentWriter]] = {}
        files: dict[str, bytes] = {}
        keys = []
        for one in self.published():
            log = one.header.source.partition
            source = SegmentSource(self.settings, log)
            events = sealed_events(one.header, source.read(one.header))
            source.close()
            if log not in writers:
                keys.append(self.key.note_signer(one.header.origin).verifier.vkey())
            tiles, segments = writers.setdefault(log, (TileWriter(), SegmentWriter()))
            written = [*tiles.extend([event["leaf"] for event in events]), *tiles.edge()]
            for file in [*written, *segments.append(one.header_bytes), *segments.edge()]:
                files[f"ledger/{log}/{file.path}"] = file.data
            files[f"ledger/{log}/checkpoint"] = one.note
        write({**files, "ledger/keys": "".join(f"{key}\n" for key in keys).encode()}, directory)

    def seal(self, leaves: int) -> None:
        """Seal, without projecting, until that many leaves are published."""
        with running(self.sealer()):
            eventually(
                lambda: sum(one.header.leaves for one in self.published()) >= leaves, _TIMEOUT_SECONDS, 0.1
            )

    def project(self, leaves: int) -> None:
        """Project until ClickHouse has that many sealed leaves."""
        with running(self.projector()):
            self.wait_for(leaves)

    def wait_for(self, leaves: int) -> None:
        eventually(lambda: self.sealed_leaves() >= leaves, _TIMEOUT_SECONDS, interval=0.1)

    def sealed_leaves(self) -> int:
        return int(self.database.rows("SELECT sum(leaves) FROM ledger_segments")[0][0])

    def count(self, table: str) -> int:
        return int(self.database.rows("SELECT count() FROM {table:Identifier}", {"table": table})[0][0])

    def contents(self) -> dict[str, list[Row]]:
        """Every row of every table."""
        sql = "SELECT * FROM {table:Identifier} ORDER BY ALL"
        return {table: self.database.rows(sql, {"table": table}) for table in TABLES}

    def alter(self, statement: str) -> None:
        """What somebody with the database's password could do."""
        self.database.command(statement, settings={"mutations_sync": 1})

    def verify(self) -> list[LogReport]:
        return verify_ledger(
            self.database, deployment=self.settings.deployment, keys=[self.key.public], in_flight_seconds=0.1
        )

    def findings(self) -> list[Finding]:
        return [finding for report in self.verify() for finding in report.findings]


def clickhouse_settings(address: ClickHouseAddress) -> ClickHouseSettings:
    """The settings that lead to `address`."""
    return ClickHouseSettings(
        clickhouse_host=address.host,
        clickhouse_port=address.port,
        clickhouse_user=address.user,
        clickhouse_password=SecretStr(address.password),
        clickhouse_database=address.database,
    )


def environment(settings: SealerSettings) -> dict[str, str]:
    """The variables that lead a command to the same Kafka and ClickHouse."""
    shared = {*KafkaSettings.model_fields, *ClickHouseSettings.model_fields} & settings.model_fields_set
    values = {name: getattr(settings, name) for name in sorted(shared)}
    return {
        f"PACTSTREAM_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in values.items()
        if value is not None
    }


def shared_settings(setup: Setup, cls: type[ServiceSettings]) -> dict[str, Any]:
    """What another service has in common with the sealer, for it to work on the same topics and tables."""
    return {
        name: getattr(setup.settings, name) for name in cls.model_fields.keys() & SealerSettings.model_fields
    }


@contextmanager
def database(server: ClickHouseAddress) -> Iterator[ClickHouseAddress]:
    """A database for more than one test, dropped afterwards."""
    name = f"shared_{uuid.uuid4().hex[:12]}"
    yield replace(server, database=name)
    with ClickHouse(clickhouse_settings(server), use_database=False) as client:
        client.command("DROP DATABASE {name:Identifier} SYNC", {"name": name})


@contextmanager
def build(
    bootstrap: str,
    prefix: str,
    address: ClickHouseAddress,
    keys: Path,
    *,
    partitions: int = PARTITIONS,
    **changes: Any,
) -> Iterator[Setup]:
    """Topics, tables and key."""
    values: dict[str, Any] = {
        "kafka_bootstrap": bootstrap,
        "kafka_topic_prefix": prefix,
        "instance": "one",
        "deployment": "test.example",
        "segment_interval_seconds": 0.05,
    }
    settings = SealerSettings(**(clickhouse_settings(address).model_dump() | values | changes))
    create_topics(settings, partitions)
    migrate.apply(settings)
    (key,) = create_keys(keys, "ledger")
    with Flaky(settings) as client:
        yield Setup(settings, key, client)


def fill(
    setup: Setup, *, segments: int = 4, batches: int = 3, size: int = 5, source: Evaluated | None = None
) -> int:
    """At least that many segments in log 0, sealed and projected; returns the number of leaves."""
    source = source or Evaluated()
    leaves = 0
    with running(setup.sealer(), setup.projector()):
        for _ in range(segments):
            setup.write(source.batches(batches, size=size))
            leaves += batches * size
            setup.wait_for(leaves)
    return leaves


@contextmanager
def running(*loops: Callable[[Event], None]) -> Iterator[list[BaseException]]:
    """Loops in threads, stopped gracefully on leaving; a failure fails the test unless taken from the list."""
    stop, failures = Event(), list[BaseException]()

    def guarded(loop: Callable[[Event], None]) -> None:
        try:
            loop(stop)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    threads = [Thread(target=guarded, args=(loop,)) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stop.set()
        for thread in threads:
            thread.join(_TIMEOUT_SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    assert failures == []
