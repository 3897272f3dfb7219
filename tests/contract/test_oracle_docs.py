"""The verification that docs/oracle.md shows, run as it stands there: nothing of ours takes part in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.errors import JoseError

from oracle_api.reports import Signer
from pactstream.signing.jwks import jwks_document
from pactstream.signing.keys import create_keys
from tests.oracle_states import STATE

PAGE = Path(__file__).parents[2] / "docs" / "oracle.md"


@pytest.fixture
def verify() -> Callable[..., dict[str, Any]]:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    found: Callable[..., dict[str, Any]] = names["verify"]
    return found


@pytest.fixture
def signed(tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A report and the public keys, both as they come over the wire."""
    keys = create_keys(tmp_path / "keys", "report")
    issued = Signer(keys, "pactstream.example", "pactstream.example", 300).sign(STATE, "active")
    return json.loads(issued.json.body), jwks_document([key.public for key in keys])


def test_it_accepts_a_true_report(verify: Any, signed: Any) -> None:
    report, jwks = signed
    assert verify(report, jwks, "pactstream.example")["score"]["composite"] == 96


def test_it_refuses_a_changed_one(verify: Any, signed: Any) -> None:
    report, jwks = signed
    report["score"]["composite"] = 97
    with pytest.raises(JoseError):
        verify(report, jwks, "pactstream.example")


def test_it_refuses_another_issuers(verify: Any, signed: Any) -> None:
    report, jwks = signed
    with pytest.raises(ValueError, match="not signed by the issuer"):
        verify(report, jwks, "elsewhere.example")


def test_it_refuses_a_stranger_key_and_an_unsigned_report(verify: Any, signed: Any, tmp_path: Path) -> None:
    report, _ = signed
    strangers = jwks_document([key.public for key in create_keys(tmp_path / "other", "report")])
    with pytest.raises((JoseError, ValueError)):
        verify(dict(report), strangers, "pactstream.example")
    with pytest.raises(ValueError, match="not signed"):
        verify(report | {"signatures": []}, strangers, "pactstream.example")
