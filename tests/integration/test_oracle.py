"""The oracle on the real ClickHouse engine, and as a process: reports, checkpoints, stream, orderly stop."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from oracle_api import confirmed, wiring
from oracle_api.app import create_app
from oracle_api.settings import OracleSettings
from oracle_api.standing import TenantStandings
from oracle_api.state import Share
from oracle_api.store import Store
from pactstream import avro, clock
from pactstream.clickhouse import migrate
from pactstream.clickhouse.client import ClickHouse
from pactstream.control.tenants import Agent, AgentStatus, Tenant, TenantDirectory
from pactstream.errors import Fatal, Retryable
from pactstream.kafka import topics
from pactstream.ledger.note import open_checkpoint
from pactstream.scores.claims import LISTED_VIOLATIONS, RECENT_VIOLATIONS
from pactstream.scores.dimensions import METHOD, WEIGHTS
from pactstream.settings import environment
from pactstream.signing.report import verify_report
from score_aggregator import table
from score_aggregator.state import AgentState
from tests.asgi import ask
from tests.kafka_tools import produce
from tests.oracle_process import oracle, prepared, variables
from tests.oracle_states import FakeKeys, FakeStandings
from tests.oracle_tools import ATLAS, DEPLOYMENT, START_MICROS, History, Told, atlas_day
from tests.sealer_stack import clickhouse_settings
from tests.stack import ClickHouseAddress, eventually

TRUST = f"/api/v1/trust/{ATLAS}"


@pytest.fixture
def settings(
    kafka_bootstrap: str, topic_prefix: str, clickhouse_database: ClickHouseAddress, tmp_path: Path
) -> OracleSettings:
    return prepared(kafka_bootstrap, topic_prefix, clickhouse_database, tmp_path)


@pytest.fixture
def database(settings: OracleSettings) -> Iterator[ClickHouse]:
    with ClickHouse(settings) as opened:
        yield opened


def test_atlas_is_reported_in_full_and_verifies(settings: OracleSettings, database: ClickHouse) -> None:
    history = History(database)
    history.tell(atlas_day())
    app = create_app(wiring.build(settings, database, FakeStandings(), FakeKeys()))
    answer, jwks = ask(app, TRUST), ask(app, "/.well-known/jwks.json").json()
    report = verify_report(answer.content, jwks, issuer=DEPLOYMENT, now_micros=clock.now_micros())
    assert report["score"]["composite"] == history.counted.tally.score(history.now_micros).composite
    assert report["pactCompliance"] == {
        "bound": 25,
        "valid": 24,
        "rate": 0.96,
        "violationsBySeverity": {"critical": 1},
    }
    assert report["observation"]["sessions"] == 5
    (violation,) = report["recentViolations"]
    assert (violation["sequence"], violation["tool"]) == (20, "transfer_funds")
    assert [(one["paramPath"], one["rule"]) for one in violation["violations"]] == [
        ("destination", "allowList"),
        ("amount", "maxAmount"),
    ]
    head = report["ledger"]["head"]
    assert (head["log"], head["leafIndex"], head["sequence"]) == (f"{DEPLOYMENT}/ledger/0", 39, 40)
    note = report["ledger"]["checkpoint"].encode()
    checkpoint = open_checkpoint(note, f"{DEPLOYMENT}/ledger/0", [history.signer.verifier])
    assert checkpoint.size == 40


def test_only_what_a_checkpoint_covers_is_called_the_head(
    settings: OracleSettings, database: ClickHouse
) -> None:
    history = History(database)
    history.tell([Told("session_start")], seal=False, score=False)
    app = create_app(wiring.build(settings, database, FakeStandings(), FakeKeys()))
    assert ask(app, TRUST).status_code == 404  # nothing signed and nothing scored yet

    history.seal()
    history.tell([Told("tool_call", tool="pay")], seal=False)
    state = asyncio.run(Store(database).agent_state(ATLAS))
    assert state is not None
    assert state.head is not None
    assert state.checkpoint is not None
    assert state.score is not None
    assert (state.head.sequence, state.checkpoint.tree_size, state.score.through_sequence) == (1, 1, 2)

    history.seal()
    state = asyncio.run(Store(database).agent_state(ATLAS))
    assert state is not None
    assert state.head is not None
    assert state.head.sequence == 2


def test_the_latest_day_counts_and_a_repeated_score_does_not(
    settings: OracleSettings, database: ClickHouse
) -> None:
    history = History(database)
    history.tell([Told("tool_call", tool="pay")])
    history.now_micros += 86_400 * clock.MICROS_PER_SECOND
    history.tell([Told("tool_call", tool="pay", broken=(("amount", "maxAmount", "major"),))])
    history.write_score()
    state = asyncio.run(Store(database).agent_state(ATLAS))
    assert state is not None
    assert state.score is not None
    assert (state.score.bound_calls, state.score.valid_calls) == (2, 1)
    assert database.rows("SELECT count() FROM scores FINAL") == [(2,)]


def scored(through_sequence: int, computed_at_micros: int, points: int) -> dict[str, Any]:
    score = avro.decode_as("Score", AgentState(str(ATLAS)).encode_score(0))
    return score | {
        "through_sequence": through_sequence,
        "computed_at_micros": computed_at_micros,
        "points": points,
        "composite": points / 10,
    }


def reported(database: ClickHouse) -> tuple[int, int | None, float | None]:
    state = asyncio.run(Store(database).agent_state(ATLAS))
    assert state is not None
    assert state.score is not None
    return state.score.through_sequence, state.score.points, state.score.composite


def test_of_live_and_nightly_scores_the_one_that_counts_most_is_reported(
    settings: OracleSettings, database: ClickHouse
) -> None:
    noon, midnight = START_MICROS, START_MICROS + 14 * 3_600 * clock.MICROS_PER_SECOND
    table.insert(database, [scored(7, noon, 800)])
    assert reported(database) == (7, 800, 80.0)
    table.insert_nightly(database, [scored(7, midnight, 795)])
    assert reported(database) == (7, 795, 79.5)  # faded overnight
    table.insert(database, [scored(7, noon, 800)])
    assert reported(database) == (7, 795, 79.5)  # written again: nothing new
    table.insert(database, [scored(8, midnight + 1, 790)])
    table.insert_nightly(database, [scored(7, midnight + 2, 795)])  # the ledger's projection lags behind
    assert reported(database) == (8, 790, 79.0)
    database.command("OPTIMIZE TABLE latest_scores FINAL")
    assert reported(database) == (8, 790, 79.0)
    assert database.rows("SELECT count() FROM latest_scores") == [(2,)]


def test_scores_of_an_older_version_are_reported_after_the_migration(
    clickhouse_database: ClickHouseAddress,
) -> None:
    where = clickhouse_settings(clickhouse_database)
    before = [one for one in migrate.packaged() if "latest_scores" not in one.sql]
    migrate.apply(where, before)
    with ClickHouse(where) as database:
        table.insert(database, [scored(3, START_MICROS, 610)])
        for _ in range(2):  # the second finds nothing to do
            migrate.apply(where)
            assert reported(database) == (3, 610, 61.0)


def test_reading_is_bounded_however_much_there_is(settings: OracleSettings, database: ClickHouse) -> None:
    rules = tuple((f"{'p' * 300}{n}", "regex", "minor") for n in range(9))
    History(database).tell([Told("tool_call", tool="pay", broken=rules)] * 50)
    store = Store(database)
    events = asyncio.run(store.latest_events(ATLAS, 10, 30))
    assert [one.sequence for one in events] == list(range(21, 51))
    assert (len(events[0].violations), events[0].omitted) == (LISTED_VIOLATIONS, 9 - LISTED_VIOLATIONS)
    assert len(events[0].violations[0].param_path) == 80
    state = asyncio.run(store.agent_state(ATLAS))
    assert state is not None
    assert [one.sequence for one in state.recent_violations] == list(range(50, 50 - RECENT_VIOLATIONS, -1))
    app = create_app(wiring.build(settings, database, FakeStandings(), FakeKeys()))
    assert ask(app, TRUST).status_code == 200


def test_violations_and_a_tenants_share_come_from_the_ledger(
    settings: OracleSettings, database: ClickHouse
) -> None:
    broken = (("amount", "maxAmount", "major"),)
    History(database, now_micros=clock.now_micros()).tell(
        [
            Told("tool_call", tool="pay", broken=broken if n % 3 == 0 else (), latency_ms=float(n))
            for n in range(30)
        ]
    )
    store = Store(database)
    page = asyncio.run(store.violations(ATLAS, 20, 3))
    assert [one.sequence for one in page] == [19, 16, 13]
    own, every = asyncio.run(store.compared(ATLAS, "tenant-pseudonym", 1))
    assert own == every
    assert (own.calls, own.bound_calls, own.valid_calls) == (30, 30, 20)
    assert own.latency_p95_ms is not None
    assert 26 <= own.latency_p95_ms <= 29
    stranger, every = asyncio.run(store.compared(ATLAS, "tenant-other", 1))
    assert (stranger, every.calls) == (Share(0, 0, 0, None), 30)


def test_nightly_scores_are_the_history(settings: OracleSettings, database: ClickHouse) -> None:
    history = History(database, now_micros=clock.now_micros())
    history.tell(atlas_day())
    store = Store(database)
    assert asyncio.run(store.history(ATLAS, 90)) == []
    score = avro.decode_as("Score", history.counted.encode_score(history.now_micros))
    table.insert_nightly(database, [score])
    (night,) = asyncio.run(store.history(ATLAS, 90))
    assert (night.through_sequence, night.method) == (40, METHOD)
    state = asyncio.run(store.agent_state(ATLAS))
    assert state is not None
    assert state.score is not None
    assert [one.name for one in state.score.dimensions] == list(WEIGHTS)


def test_each_log_has_its_newest_checkpoint(settings: OracleSettings, database: ClickHouse) -> None:
    history = History(database)
    for _ in range(3):
        history.tell([Told("session_start")])
    app = create_app(wiring.build(settings, database, FakeStandings(), FakeKeys()))
    (entry,) = ask(app, "/api/v1/ledger/checkpoint").json()["checkpoints"]
    assert (entry["origin"], entry["treeSize"]) == (f"{DEPLOYMENT}/ledger/0", 3)
    assert ask(app, "/api/v1/ledger/checkpoint?log=0").text == entry["checkpoint"]
    assert ask(app, "/api/v1/ledger/checkpoint?log=1").status_code == 404


def test_without_clickhouse_it_is_not_ready_and_says_when_to_come_back(settings: OracleSettings) -> None:
    elsewhere = settings.model_copy(update={"clickhouse_port": 1})
    with ClickHouse(elsewhere) as database:
        app = create_app(wiring.build(elsewhere, database, FakeStandings(), FakeKeys()))
        answer = ask(app, TRUST)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert ask(app, "/readyz").status_code == 503
        with pytest.raises(Retryable):
            asyncio.run(Store(database).agent_state(ATLAS))


def test_a_row_that_is_not_as_expected_is_no_report(settings: OracleSettings, database: ClickHouse) -> None:
    database.command(
        "INSERT INTO latest_scores SELECT {agent:UUID}, false, 1, now64(6), '[1]'", {"agent": str(ATLAS)}
    )
    app = create_app(wiring.build(settings, database, FakeStandings(), FakeKeys()))
    assert ask(app, TRUST).status_code == 500
    with pytest.raises(Fatal, match="a row is not as expected"):
        database.json_rows("SELECT 'x'", msgspec.json.Decoder(tuple[int]))


def test_without_the_tables_it_is_not_ready(settings: OracleSettings, database: ClickHouse) -> None:
    database.command("DROP TABLE scores")
    assert (
        ask(create_app(wiring.build(settings, database, FakeStandings(), FakeKeys())), "/readyz").status_code
        == 503
    )


def test_a_stop_ends_open_streams_and_exits_zero(settings: OracleSettings, database: ClickHouse) -> None:
    History(database).tell(atlas_day())
    with oracle(settings) as (url, process), httpx.Client(trust_env=False, timeout=30) as client:
        with client.stream("GET", f"{url}{TRUST}/events") as stream:
            lines = stream.iter_lines()
            assert any(line.startswith("id: 40") for line in lines)
            process.terminate()
            for _ in lines:
                pass  # to the end, which only the stop brings
        assert process.wait(15) == 0


def test_a_stream_resumes_after_the_event_last_seen(settings: OracleSettings, database: ClickHouse) -> None:
    History(database).tell(atlas_day())
    seen = {"Last-Event-ID": "38"}
    with (
        oracle(settings) as (url, _),
        httpx.stream("GET", f"{url}{TRUST}/events", headers=seen, trust_env=False, timeout=30) as stream,
    ):
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["cache-control"] == "no-store"
        data = next(line for line in stream.iter_lines() if line.startswith("data: ["))
    assert [one["sequence"] for one in json.loads(data[6:])] == [39, 40]


def test_an_address_can_hold_so_many_streams_and_gets_its_places_back(
    settings: OracleSettings, database: ClickHouse
) -> None:
    History(database).tell(atlas_day())
    ours = settings.model_copy(update={"oracle_streams_per_address": 2})
    with oracle(ours) as (url, _), httpx.Client(trust_env=False, timeout=30) as client, ExitStack() as held:
        for _ in range(2):
            held.enter_context(client.stream("GET", f"{url}{TRUST}/events"))
        assert client.get(f"{url}{TRUST}/events").status_code == 429
        held.close()

        def free() -> bool:
            with client.stream("GET", f"{url}{TRUST}/events") as stream:
                return stream.status_code == 200

        eventually(free, timeout=10)


def test_a_paused_agent_is_reported_as_paused_within_two_seconds(
    settings: OracleSettings, database: ClickHouse
) -> None:
    History(database).tell(atlas_day())
    record_tenant(settings, "active")
    with oracle(settings) as (url, _), httpx.Client(trust_env=False, timeout=30) as client:

        def standing() -> object:
            return client.get(f"{url}{TRUST}").json()["agentStatus"]

        assert standing() == "active"
        record_tenant(settings, "paused")
        eventually(lambda: standing() == "paused", timeout=2)
        record_tenant(settings, "active")
        eventually(lambda: standing() == "active", timeout=2)


def record_tenant(settings: OracleSettings, status: AgentStatus) -> None:
    tenant = Tenant("t-1", "Acme", "tenant-1", 7).with_agent(Agent(str(ATLAS), "Atlas", status, 8))
    produce(settings, topics.TENANTS, [(b"t-1", tenant.encode())])


def test_several_tenants_words_count_as_the_worst_of_them(settings: OracleSettings) -> None:
    stranger = UUID(int=1)
    with closing(TenantStandings(TenantDirectory(settings))) as standings:
        assert standings.of(ATLAS) == "unknown"  # nothing was read yet
        record_tenant(settings, "active")
        eventually(lambda: standings.of(ATLAS) == "active", timeout=10)
        paused = Tenant("t-2", "Bolt", "tenant-2", 7).with_agent(Agent(str(ATLAS), "Ours", "paused", 8))
        produce(settings, topics.TENANTS, [(b"t-2", paused.encode())])
        eventually(lambda: standings.of(ATLAS) == "paused", timeout=10)
        record_tenant(settings, "revoked")
        eventually(lambda: standings.of(ATLAS) == "revoked", timeout=10)
        assert standings.of(stranger) == "unregistered"


def test_a_standing_that_is_not_confirmed_any_more_is_unknown(
    settings: OracleSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(TenantStandings(TenantDirectory(settings))) as standings:
        eventually(lambda: standings.ready, timeout=10)
        monkeypatch.setattr(confirmed, "UNKNOWN_AFTER_SECONDS", -1)
        assert (standings.ready, standings.of(ATLAS)) == (False, "unknown")


def test_what_keeps_it_from_starting_is_said_in_one_line(settings: OracleSettings) -> None:
    with socket.create_server(("127.0.0.1", settings.oracle_port)):
        assert failure(settings) == (
            f"oracle_api: cannot listen on 127.0.0.1:{settings.oracle_port}: Address already in use; "
            "set another port or stop its user\n"
        )
    keyless = settings.model_copy(update={"key_dir": settings.key_dir / "none"})
    assert failure(keyless) == ("oracle_api: report.es256.pem is missing: make it with `pactstream keys new`\n")


def failure(settings: OracleSettings) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "oracle_api"],
        env=environment() | variables(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 3
    return ended.stderr
