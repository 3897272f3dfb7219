"""Reports served by a mirror: as the oracle signed them, with the mirror's word beside, until they expire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from pactstream import clock
from pactstream.errors import InvalidInput, Retryable
from pactstream.mirror import reports as reports_module
from pactstream.mirror import statement
from pactstream.mirror.http import application
from pactstream.mirror.mirror import LedgerMirror
from pactstream.mirror.reports import Issuer, ReportMirror
from pactstream.signing.jwks import jwks_document
from pactstream.signing.keys import SigningKey, create_keys
from pactstream.signing.report import verify_report
from pactstream.trust.errors import UnknownAgent
from pactstream.trust.oracle import MAX_REPORT_BYTES, Oracle
from tests.asgi import ask
from tests.mirror_tools import COSIGNER, NAME, ORIGIN, ledger_mirror
from tests.published_ledger import AGENTS, published
from tests.trust_oracle import AGENT, ENTRIES, ISSUER, TestOracle, serving, state_of

SECOND = clock.MICROS_PER_SECOND
OTHER = UUID(AGENTS[1])


@dataclass
class Mirror:
    """A mirror whose clock is ours."""

    oracle: TestOracle
    client: Oracle
    directory: Path
    key: SigningKey
    now: int = field(default_factory=clock.now_micros)
    ledger: LedgerMirror = field(init=False)
    reports: ReportMirror = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = ledger_mirror(self.client, self.directory / "ledger")
        self.start()

    def start(self) -> None:
        self.reports = ReportMirror(
            self.client,
            Issuer(ISSUER, self.oracle.jwks),
            self.directory / "reports",
            self.key,
            NAME,
            self.ledger.reach,
            refresh_seconds=2,
            now_micros=lambda: self.now,
        )

    @property
    def jwks(self) -> dict[str, Any]:
        return jwks_document([self.key.public])

    def ask(self, path: str) -> httpx.Response:
        about = {"name": NAME, "vkey": COSIGNER.verifier.vkey(), "jwks": self.jwks}
        return ask(application(self.ledger, self.reports, self.oracle.jwks, about), path)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with serving(tmp_path) as oracle, closing(Oracle(oracle.url, 2)) as client:
        oracle.show(published(ENTRIES[:300], ()))
        yield Mirror(oracle, client, tmp_path / "m", create_keys(tmp_path / "keys", "report")[0])


def test_a_report_is_served_as_signed_with_the_mirrors_word_beside(mirror: Mirror) -> None:
    answer = mirror.ask(f"/api/v1/trust/{AGENT}")
    assert answer.status_code == 200
    assert answer.content == mirror.oracle.files[f"api/v1/trust/{AGENT}"]
    verify_report(answer.content, mirror.oracle.jwks, issuer=ISSUER, now_micros=mirror.now)
    about = mirror.ask("/.well-known/pactstream-mirror.json").json()
    said = answer.headers["Pactstream-Mirror"]
    claims = statement.verify(said, answer.content, about["jwks"], mirror=about["name"], now_micros=mirror.now)
    assert (claims.iss, claims.sub, claims.iat) == (NAME, str(AGENT), mirror.now // SECOND)
    # Its checkpoint was mirrored before it was served.
    assert mirror.ledger.logs[0].size == 300


@pytest.mark.parametrize("fault", ["body", "mirror", "key", "time", "form", "long"])
def test_a_statement_that_does_not_hold_is_refused(mirror: Mirror, tmp_path: Path, fault: str) -> None:
    report = mirror.reports.get(AGENT)
    others = jwks_document([one.public for one in create_keys(tmp_path / "others", "report")])
    said, body = report.statement, report.body
    with pytest.raises(InvalidInput):
        statement.verify(
            {"form": "a.b.c", "long": said + "A" * statement.MAX_CHARS}.get(fault, said),
            body + b" " if fault == "body" else body,
            others if fault == "key" else mirror.jwks,
            mirror="another" if fault == "mirror" else NAME,
            now_micros=report.expires_at_micros + SECOND if fault == "time" else mirror.now,
        )


def test_the_oracle_may_be_away_until_the_report_expires(mirror: Mirror) -> None:
    report = mirror.reports.get(AGENT)
    mirror.oracle.status = 503
    mirror.now = report.expires_at_micros - 1
    assert mirror.reports.get(AGENT) == report
    mirror.start()  # from disk, as it was
    assert mirror.reports.get(AGENT).body == report.body
    assert mirror.reports.get(AGENT).statement == report.statement
    mirror.now += 1
    assert mirror.ask(f"/api/v1/trust/{AGENT}").status_code == 503
    mirror.start()
    with pytest.raises(Retryable):
        mirror.reports.get(AGENT)
    assert not list((mirror.directory / "reports").iterdir())


def test_a_report_is_asked_for_again_once_it_is_older_than_the_interval(mirror: Mirror) -> None:
    path = f"api/v1/trust/{AGENT}"
    first = mirror.reports.get(AGENT)
    mirror.reports.get(AGENT)
    assert mirror.oracle.asked.count(path) == 1
    mirror.now += 3 * SECOND
    state = state_of(published(ENTRIES[:300], ()))
    mirror.oracle.sign(state, now_micros=mirror.now)
    assert mirror.reports.get(AGENT).issued_at_micros > first.issued_at_micros
    # Another process of the oracle may be behind: the newer one stays.
    newer = mirror.reports.get(AGENT)
    mirror.oracle.sign(state, now_micros=mirror.now - 2 * SECOND)
    mirror.now += 3 * SECOND
    assert mirror.reports.get(AGENT) == newer


def forged(oracle: TestOracle, tmp_path: Path) -> None:
    oracle.keys = create_keys(tmp_path / "forger", "report")
    oracle.sign(state_of(published(ENTRIES[:300], ())))


def anothers(oracle: TestOracle, _: Path) -> None:
    oracle.files[f"api/v1/trust/{OTHER}"] = oracle.files[f"api/v1/trust/{AGENT}"]


def huge(oracle: TestOracle, _: Path) -> None:
    oracle.files[f"api/v1/trust/{AGENT}"] = b"[" + b" " * MAX_REPORT_BYTES + b"]"


def elsewhere(oracle: TestOracle, _: Path) -> None:
    oracle.status = 302


def ahead(oracle: TestOracle, _: Path) -> None:
    """A report of leaves that are published nowhere."""
    oracle.sign(state_of(published(ENTRIES, (300,))))


@pytest.mark.parametrize("spoil", [forged, anothers, huge, elsewhere, ahead])
def test_what_does_not_verify_is_never_served_nor_kept(
    mirror: Mirror, tmp_path: Path, spoil: Any, caplog: pytest.LogCaptureFixture
) -> None:
    agent = OTHER if spoil is anothers else AGENT
    spoil(mirror.oracle, tmp_path)
    with pytest.raises(Retryable):
        mirror.reports.get(agent)
    assert not (mirror.directory / "reports").exists()
    if spoil in (forged, anothers):
        assert "is refused" in caplog.text
    assert not any("elsewhere" in path for path in mirror.oracle.asked)


def test_a_forged_report_does_not_replace_a_good_one(mirror: Mirror, tmp_path: Path) -> None:
    good = mirror.reports.get(AGENT)
    forged(mirror.oracle, tmp_path)
    mirror.now += 3 * SECOND
    assert mirror.reports.get(AGENT) == good


def test_an_agent_that_nobody_knows(mirror: Mirror) -> None:
    with pytest.raises(UnknownAgent):
        mirror.reports.get(OTHER)
    assert mirror.ask(f"/api/v1/trust/{OTHER}").status_code == 404
    assert mirror.ask("/api/v1/trust/../ledger").status_code in (400, 404)
    assert mirror.ask("/api/v1/trust/not-an-id").status_code == 400


def test_so_many_reports_are_kept_and_no_more(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports_module, "MAX_REPORTS", 0)
    mirror.reports.get(AGENT)
    assert not list((mirror.directory / "reports").iterdir())


def test_the_same_report_twice_is_kept_once(mirror: Mirror) -> None:
    mirror.reports.get(AGENT)
    mirror.now += 3 * SECOND
    mirror.reports.get(AGENT)
    assert [one.name for one in (mirror.directory / "reports").iterdir()] == [f"{AGENT}.report.json"]


def test_the_ledger_is_served_where_the_oracle_has_it(mirror: Mirror) -> None:
    assert mirror.ask("/ledger/0/checkpoint").status_code == 404
    mirror.ledger.look(0)
    checkpoint = mirror.ask("/ledger/0/checkpoint")
    assert checkpoint.content == mirror.ledger.logs[0].note
    assert checkpoint.headers["Content-Type"] == "text/plain; charset=utf-8"
    tile = mirror.ask("/ledger/0/tile/0/000")
    assert tile.content == mirror.oracle.files["ledger/0/tile/0/000"]
    assert "immutable" in tile.headers["Cache-Control"]
    assert ORIGIN in mirror.ask("/ledger/keys").text
    assert mirror.ask("/.well-known/jwks.json").json() == mirror.oracle.jwks
    for path in ("/ledger/1/checkpoint", "/ledger/0/tile/0/999", "/ledger/0/.lock", "/ledger/0/%2e%2e/keys"):
        assert mirror.ask(path).status_code == 404


def test_a_refused_log_shows_in_the_status(mirror: Mirror, caplog: pytest.LogCaptureFixture) -> None:
    mirror.ledger.look(0)
    (shown,) = mirror.ask("/status").json()["logs"]
    assert (shown["origin"], shown["size"], shown["fault"]) == (ORIGIN, 300, None)
    mirror.oracle.files |= published(ENTRIES[:200], ()).files
    mirror.ledger.look(0)
    answer = mirror.ask("/status")
    assert answer.status_code == 503
    (shown,) = answer.json()["logs"]
    assert shown["refused"]
    assert "rolled back" in shown["fault"]
    assert "NOT mirrored any further" in caplog.text
    assert mirror.ask("/ledger/0/checkpoint").content == mirror.ledger.logs[0].note
    mirror.oracle.files |= published(ENTRIES, (300,)).files
    mirror.ledger.look(0)
    assert mirror.ask("/status").json()["logs"][0]["fault"] is None
    json.dumps(mirror.ask("/status").json())
