"""Scores through all five services: an agent works, a third party attests, the report shows both, explained."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import OKPKey

from pactstream import atlas, clock
from pactstream.devstack.services import DEPLOYMENT
from pactstream.scores import attestation
from tests.cli_tools import runner
from tests.pipeline import assert_ledger_sound, new_agent, pipeline
from tests.stack import ClickHouseAddress, eventually


def test_evidence_shows_within_a_minute_and_is_explained(
    kafka_bootstrap: str,
    clickhouse_database: ClickHouseAddress,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key, issuer = OKPKey.generate_key("Ed25519", {"kid": "auditor"}), str(uuid4())
    with pipeline(kafka_bootstrap, clickhouse_database, topic_prefix, tmp_path) as services:
        agent = new_agent(services)
        body = {
            "name": "Audits",
            "kinds": ["accuracy"],
            "jwks": {"keys": [{**key.as_dict(private=False), "alg": "Ed25519"}]},
        }
        headers = {"Authorization": f"Bearer {services.admin_key}"}
        url = f"{services.gateway_url}/api/v1"
        assert httpx.put(f"{url}/issuers/{issuer}", json=body, headers=headers).status_code == 201
        with agent.telemetry(services) as telemetry:
            atlas.run(telemetry, 42, pact_id=agent.pact_id)
        now = clock.now_micros() // 1_000_000
        claim = {"kind": "accuracy", "correct": 97, "total": 100, "benchmark": "invoices"}
        payload = {"iss": issuer, "sub": agent.agent_id, "jti": str(uuid4()), "iat": now, "exp": now + 3_600}
        protected = {"alg": "Ed25519", "kid": "auditor", "typ": attestation.JWS_TYPE}
        text = json.dumps(payload | {"claim": claim})
        signed = jws.serialize_compact(protected, text, key, algorithms=["Ed25519"])
        for _ in range(2):  # the second is the same event
            answer = httpx.post(f"{url}/attestations", json={"attestation": signed})
            assert answer.status_code == 202, answer.text
        run = runner(monkeypatch, capsys)
        where = ("--url", services.oracle_url, "--issuer", DEPLOYMENT)

        def found() -> dict[str, float | None]:
            ran = run("score", "explain", agent.agent_id, "--json", "--verify", *where)
            if ran.code:
                return {}
            explained = json.loads(ran.out)
            return {one["name"]: one["score"] for one in explained["dimensions"]} | {
                "composite": explained["composite"],
                "attestations": len(explained["attestations"]),
            }

        eventually(lambda: found().get("accuracy") is not None, timeout=60)
        scores = found()
        covered = {"accuracy", "reliability", "safety", "self_audit", "runtime_compliance", "harness_stability"}
        assert {name for name, score in scores.items() if score is not None} == covered | {
            "composite",
            "attestations",
        }
        assert scores["attestations"] == 1
        assert_ledger_sound(services)
