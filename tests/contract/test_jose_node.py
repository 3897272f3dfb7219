"""What we sign verifies with an implementation that nobody here wrote: npm's jose, on Node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from oracle_api.reports import Signer
from pactstream import canonical, clock
from pactstream.signing import keys
from pactstream.signing.jwks import jwks_document
from pactstream.signing.report import sign_jwt, sign_report
from tests.oracle_states import AGENT, STATE

HERE = Path(__file__).with_name("node")
NODE, NPM = shutil.which("node"), shutil.which("npm")
NOW = 1_778_666_400_000_000
ISSUER = "https://trust.example"
REPORT: dict[str, Any] = {
    "reportId": "0196d2a4-5f3e-7b1c-8a90-3c5d7e9f1b20",
    "issuer": ISSUER,
    "agentId": "76cf31d6-ffe3-4a5c-8748-021114aa8066",
    "issuedAt": clock.to_iso(NOW),
    "expiresAt": clock.to_iso(NOW + 300 * clock.MICROS_PER_SECOND),
    "score": {"composite": 96.0, "small": 1e-7, "large": 1e21, "long": 333333333.3333333, "big": 2.0**60},
    "violations": [{"paramPath": "destination", "\ufb33": 1, "\U0001f600": 2, "text": "\u20ac\u2028\n\x7f"}],
}

pytestmark = pytest.mark.skipif(NODE is None or NPM is None, reason="Node is not installed")


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The verifying script beside its library, installed from the lock file."""
    directory = tmp_path_factory.mktemp("jose")
    for name in ("package.json", "package-lock.json", "verify.mjs"):
        shutil.copy(HERE / name, directory)
    command = [str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return directory / "verify.mjs"


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A report, a token and the key set, as the oracle publishes them; the keys were rotated once."""
    directory = tmp_path_factory.mktemp("keys") / "keys"
    keys.create_keys(directory, "report")
    current = keys.rotate_keys(directory, "report", now_micros=NOW)
    public = [key.public for key in current]
    return {
        "report": sign_report(REPORT, current),
        "token": sign_jwt(REPORT, current[0]),
        "jwks": jwks_document(public, keys.load_retired(directory, "report")),
        "issuer": ISSUER,
        "now": NOW // 1_000,
    }


def check(script: Path, question: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [str(NODE), str(script)],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_jose_verifies_both_signatures_and_the_token(checker: Path, signed: dict[str, Any]) -> None:
    answer = check(checker, signed)
    assert "error" not in answer
    current = [key for key in signed["jwks"]["keys"] if "retiredAt" not in key]
    assert answer["report"] == [f"{key['alg']} {key['kid']}" for key in current]
    assert {key["alg"] for key in current} == {"ES256", "Ed25519"}
    assert canonical.as_doubles(answer["token"]) == REPORT | {
        "jti": REPORT["reportId"],
        "iss": ISSUER,
        "sub": REPORT["agentId"],
        "iat": NOW // clock.MICROS_PER_SECOND,
        "exp": NOW // clock.MICROS_PER_SECOND + 300,
    }


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"issuer": "https://other.example"}, "ERR_JWT_CLAIM_VALIDATION_FAILED"),
        ({"now": NOW // 1_000 + 300_000}, "ERR_JWT_EXPIRED"),
        ({"jwks": {"keys": []}}, "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"),
    ],
)
def test_jose_refuses_what_it_should(
    checker: Path, signed: dict[str, Any], changes: dict[str, Any], error: str
) -> None:
    assert check(checker, {**signed, **changes}) == {"error": error}


def test_jose_refuses_a_changed_report(checker: Path, signed: dict[str, Any]) -> None:
    changed = {**signed["report"], "score": {**REPORT["score"], "composite": 97}}
    assert check(checker, {**signed, "report": changed}) == {"error": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"}


def test_jose_verifies_a_whole_report_of_the_oracle(checker: Path, tmp_path: Path) -> None:
    """Every claim there is: standing, dimensions, attestations, proof."""
    signing = keys.create_keys(tmp_path / "keys", "report")
    issued = Signer(signing, ISSUER, "test.local", 300, lambda: NOW).sign(STATE, "paused")
    question = {
        "report": json.loads(issued.json.body),
        "token": issued.jwt.body.decode(),
        "jwks": jwks_document([key.public for key in signing]),
        "issuer": ISSUER,
        "now": NOW // 1_000,
    }
    answer = check(checker, question)
    assert len(answer["report"]) == 2
    token = answer["token"]
    assert (token["jti"], token["sub"], token["agentStatus"]) == (token["reportId"], str(AGENT), "paused")
    assert token["score"]["dimensions"][0]["name"] == "accuracy"
    assert token["score"]["attestations"][0]["issuer"] == "bank.example"
    assert token["ledger"]["inclusionProof"] == ["cd" * 32]
    forged = question["report"] | {"agentStatus": "active"}
    assert check(checker, question | {"report": forged}) == {"error": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"}
