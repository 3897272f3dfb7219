"""The oracle on the real ClickHouse engine, and as a process: reports, checkpoints, stream, orderly stop."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from oracle_api import wiring
from oracle_api.app import create_app
from oracle_api.settings import OracleSettings
from oracle_api.store import LISTED_VIOLATIONS, RECENT_VIOLATIONS, Store
from pactstream import clock
from pactstream.clickhouse import migrate
from pactstream.clickhouse.client import ClickHouse
from pactstream.errors import Retryable
from pactstream.ledger.note import open_checkpoint
from pactstream.settings import environment
from pactstream.signing.keys import create_keys
from pactstream.signing.report import verify_report
from tests.asgi import ask
from tests.oracle_process import free_port, oracle, variables
from tests.oracle_tools import ATLAS, DEPLOYMENT, History, Told, atlas_day
from tests.stack import ClickHouseAddress, eventually

TRUST = f"/api/v1/trust/{ATLAS}"


@pytest.fixture
def settings(clickhouse_database: ClickHouseAddress, tmp_path: Path) -> OracleSettings:
    where = clickhouse_database
    create_keys(tmp_path / "keys", "report")
    ours = OracleSettings(
        deployment=DEPLOYMENT,
        oracle_port=free_port(),
        key_dir=tmp_path / "keys",
        clickhouse_host=where.host,
        clickhouse_port=where.port,
        clickhouse_user=where.user,
        clickhouse_password=where.password,
        clickhouse_database=where.database,
    )
    migrate.apply(ours)
    return ours


@pytest.fixture
def database(settings: OracleSettings) -> Iterator[ClickHouse]:
    with ClickHouse(settings) as opened:
        yield opened


def test_atlas_is_reported_in_full_and_verifies(settings: OracleSettings, database: ClickHouse) -> None:
    history = History(database)
    history.tell(atlas_day())
    app = create_app(wiring.build(settings, database))
    answer, jwks = ask(app, TRUST), ask(app, "/.well-known/jwks.json").json()
    report = verify_report(answer.content, jwks, issuer=DEPLOYMENT, now_micros=clock.now_micros())
    assert report["score"]["composite"] == 96
    assert report["score"]["dimensions"] == {"pact_compliance": 0.96}
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
    app = create_app(wiring.build(settings, database))
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
    assert (state.score.bound_calls, state.score.composite) == (2, 50)
    assert database.rows("SELECT count() FROM scores FINAL") == [(2,)]


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
    app = create_app(wiring.build(settings, database))
    assert ask(app, TRUST).status_code == 200


def test_each_log_has_its_newest_checkpoint(settings: OracleSettings, database: ClickHouse) -> None:
    history = History(database)
    for _ in range(3):
        history.tell([Told("session_start")])
    app = create_app(wiring.build(settings, database))
    (entry,) = ask(app, "/api/v1/ledger/checkpoint").json()["checkpoints"]
    assert (entry["origin"], entry["treeSize"]) == (f"{DEPLOYMENT}/ledger/0", 3)
    assert ask(app, "/api/v1/ledger/checkpoint?log=0").text == entry["checkpoint"]
    assert ask(app, "/api/v1/ledger/checkpoint?log=1").status_code == 404


def test_without_clickhouse_it_is_not_ready_and_says_when_to_come_back(settings: OracleSettings) -> None:
    elsewhere = settings.model_copy(update={"clickhouse_port": 1})
    with ClickHouse(elsewhere) as database:
        app = create_app(wiring.build(elsewhere, database))
        answer = ask(app, TRUST)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert ask(app, "/readyz").status_code == 503
        with pytest.raises(Retryable):
            asyncio.run(Store(database).agent_state(ATLAS))


def test_without_the_tables_it_is_not_ready(settings: OracleSettings, database: ClickHouse) -> None:
    database.command("DROP TABLE scores")
    assert ask(create_app(wiring.build(settings, database)), "/readyz").status_code == 503


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
