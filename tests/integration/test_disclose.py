"""`pactstream disclose` to `pactstream verify disclosure`: from a private value to a counterparty's check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pactstream.signing.keys import create_keys
from tests.cli_tools import Run, runner
from tests.http_servers import serving
from tests.sealer_stack import Setup, build, environment, fill
from tests.sealer_tools import event_id
from tests.stack import ClickHouseAddress


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


@pytest.fixture
def setup(
    kafka_bootstrap: str, topic_prefix: str, clickhouse_database: ClickHouseAddress, tmp_path: Path
) -> Iterator[Setup]:
    with build(kafka_bootstrap, topic_prefix, clickhouse_database, tmp_path / "keys") as made:
        yield made


@pytest.fixture
def oracle(setup: Setup, tmp_path: Path) -> Iterator[str]:
    """Serves what an oracle publishes."""
    fill(setup, segments=2)
    site = tmp_path / "site"
    setup.publish(site)
    keys = create_keys(tmp_path / "keys", "report")
    (site / ".well-known").mkdir()
    (site / ".well-known" / "jwks.json").write_text(
        json.dumps({"keys": [key.public.members() for key in keys]})
    )
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))) as address:
        yield address


def test_from_the_operator_to_the_counterparty(
    setup: Setup,
    oracle: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment(setup.settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PACTSTREAM_KEY_DIR", str(tmp_path / "keys"))
    monkeypatch.setenv("PACTSTREAM_ISSUER", "127.0.0.1")
    monkeypatch.setenv("PACTSTREAM_ORACLE_URL", oracle)
    monkeypatch.setenv("PACTSTREAM_VERIFY_STATE", str(tmp_path / "state"))
    run: Run = runner(monkeypatch, capsys)
    event = event_id(1, 2)

    unknown = run("disclose", event, "params.none", "--to", "Globex")
    assert unknown.code == 1
    assert "it has: params.amount, params.currency, params.destination" in unknown.err
    assert run("disclose", event, "params.amount", "--to", "Globex", "--valid", "2d").code == 3
    made = run("disclose", event, "params.amount", "--to", "Globex")
    assert made.code == 0, made.err
    assert "0xA11A" not in made.out

    file = tmp_path / "amount.json"
    file.write_text(made.out)
    checked = run("verify", "disclosure", file, "--audience", "Globex")
    assert checked.code == 0, checked.err
    assert checked.out.splitlines()[0] == "params.amount = 250.1"
    assert event in checked.out
    assert "disclosed by 127.0.0.1 to Globex" in checked.out
    assert run("verify", "disclosure", file, "--audience", "Initech").code == 1
    file.write_text(made.out.replace('"value":"250.1"', '"value":"250.2"'))
    refused = run("verify", "disclosure", file)
    assert (refused.code, "not what the leaf commits to" in refused.err) == (1, True)

    # Erased, there is nothing to disclose any more; what was disclosed still verifies, because the leaf stays.
    setup.alter(f"ALTER TABLE room_event_payloads DELETE WHERE event_id = toUUID('{event}')")
    assert run("disclose", event, "params.amount", "--to", "Globex").code == 1
    file.write_text(made.out)
    assert run("verify", "disclosure", file).code == 0
