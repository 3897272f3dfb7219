"""Signed reports and tokens, good and bad: `sdk/vectors/reports.json`, as `tests.sdk_vectors` writes it.

ECDSA signatures are random, so the file is made once; both SDKs are held to what stands in it.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pactstream import clock
from pactstream.signing import keys
from pactstream.signing.jwks import jwks_document
from pactstream.signing.keys import SigningKey
from pactstream.signing.report import sign_jwt, sign_report
from tests.sdk_gateway import AGENT

NOW: Final = 1_778_666_400_000_000  # 2026-05-13T10:00:00Z
ISSUER: Final = "oracle.example"

Keys = Sequence[SigningKey]
Case = tuple[str, Any, str | None]
"""Its name, the report or token, and the error that it raises (None: it holds)."""


def reports() -> dict[str, Any]:
    """All of them, with the issuer's key set."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "keys"
        retired = keys.create_keys(directory, "report")
        current = keys.rotate_keys(
            directory, "report", now_micros=NOW - 60 * clock.MICROS_PER_SECOND, overlap_seconds=0
        )
        strangers = keys.create_keys(Path(folder) / "strangers", "report")
        jwks = jwks_document([key.public for key in current], keys.load_retired(directory, "report"))
    good = sign_report(_report(), current)
    return {
        "issuer": ISSUER,
        "nowMillis": NOW // 1_000,
        "jwks": jwks,
        "reports": _named("report", [*_as_signed(good, current, retired, strangers), *_malformed(good)]),
        "texts": _named("report", _texts(good)),
        "tokens": _named("token", _tokens(good, current, strangers)),
        "claims": _report(),
    }


def _named(what: str, cases: Sequence[Case]) -> list[dict[str, Any]]:
    return [{"name": name, what: given, "error": error} for name, given, error in cases]


def _as_signed(good: Mapping[str, Any], current: Keys, retired: Keys, strangers: Keys) -> list[Case]:
    report, two_days = _report(), {"expiresAt": clock.to_iso(NOW + 172_800 * clock.MICROS_PER_SECOND)}
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"x","typ":"JOSE"}').rstrip(b"=").decode()
    unsigned = report | {"signatures": [{"protected": header, "signature": ""}]}
    first, second = good["signatures"]
    swapped = {**good, "signatures": [first | {"signature": second["signature"]}]}
    mixed = {**good, "signatures": [first, second, *sign_report(report, strangers)["signatures"]]}
    return [
        ("holds", good, None),
        ("holds beside a stranger's signatures", mixed, None),
        ("holds with one signature", {**good, "signatures": [second]}, None),
        ("was signed before its key was retired", sign_report(report | _times(-120), retired), None),
        ("a claim was changed", {**good, "agentStatus": "paused"}, "ReportSignatureError"),
        ("a number was changed by one digit", {**good, "score": {"composite": 96.01}}, "ReportSignatureError"),
        ("one signature of two is bad", _spoiled(good), "ReportSignatureError"),
        ("signed by strangers", sign_report(report, strangers), "ReportSignatureError"),
        ("signed by a key after it was retired", sign_report(report, retired), "ReportSignatureError"),
        ("no algorithm", unsigned, "ReportSignatureError"),
        ("another key's signature", swapped, "ReportSignatureError"),
        ("another issuer's", sign_report(report | {"issuer": "other.example"}, current), "ReportIssuerError"),
        ("expired", sign_report(report | _times(-301), current), "ReportExpired"),
        ("issued in the future", sign_report(report | _times(61), current), "ReportExpired"),
        ("valid for two days", sign_report(report | two_days, current), "ReportExpired"),
    ]


def _malformed(good: Mapping[str, Any]) -> list[Case]:
    report = _report()
    return [
        ("no signatures", report, "ReportMalformed"),
        ("an empty list of signatures", report | {"signatures": []}, "ReportMalformed"),
        ("seventeen signatures", {**good, "signatures": good["signatures"][:1] * 17}, "ReportMalformed"),
        ("not an object", [], "ReportMalformed"),
    ]


def _texts(good: Mapping[str, Any]) -> list[Case]:
    text = json.dumps(good)
    twice = text.replace('"agentStatus"', '"agentStatus": "paused", "agentStatus"', 1)
    return [
        ("holds, however it is written", json.dumps(good, indent=2, sort_keys=True), None),
        ("one name twice", twice, "ReportMalformed"),
        ("not JSON", text[:-1], "ReportMalformed"),
    ]


def _tokens(good: Mapping[str, Any], current: Keys, strangers: Keys) -> list[Case]:
    report, key = _report(), current[0]
    token = sign_jwt(report, key)
    _, payload, signature = token.split(".")
    no_token = ".".join((good["signatures"][0]["protected"], payload, signature))
    return [
        ("holds", token, None),
        ("is no report's signature", no_token, "ReportSignatureError"),
        ("expired", sign_jwt(report | _times(-301), key), "ReportExpired"),
        ("another issuer's", sign_jwt(report | {"issuer": "other.example"}, key), "ReportIssuerError"),
        ("signed by a stranger", sign_jwt(report, strangers[0]), "ReportSignatureError"),
        ("two parts", token.rpartition(".")[0], "ReportMalformed"),
        ("a part that is no base64url", token.replace(".", ".!", 1), "ReportSignatureError"),
    ]


def _times(seconds: int) -> dict[str, str]:
    issued = NOW + seconds * clock.MICROS_PER_SECOND
    return {"issuedAt": clock.to_iso(issued), "expiresAt": clock.to_iso(issued + 300 * clock.MICROS_PER_SECOND)}


def _report() -> dict[str, Any]:
    return {
        "reportId": "0196d2a4-5f3e-7b1c-8a90-3c5d7e9f1b20",
        "issuer": ISSUER,
        "agentId": AGENT,
        "agentStatus": "active",
        **_times(0),
        "score": {"composite": 96.0, "small": 1e-7, "large": 1e21, "long": 333333333.3333333, "big": 2.0**60},
        "violations": [
            {"paramPath": "destination", "\ufb33": 1, "\U0001f600": 2, "text": "\u20ac\u2028\n\x7f"}
        ],
    }


def _spoiled(report: Mapping[str, Any]) -> dict[str, Any]:
    first, second = report["signatures"]
    changed = ("A" if second["signature"][0] != "A" else "B") + second["signature"][1:]
    return {**report, "signatures": [first, second | {"signature": changed}]}
