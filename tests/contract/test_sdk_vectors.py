"""`sdk/vectors` are what the Python code says today; the TypeScript SDK is held to the same files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pactstream.signing.report import ReportError, verify_jwt, verify_report
from tests import sdk_vectors
from tests.sdk_vectors import FILES, FOLDER

REPORTS = sdk_vectors.read("reports.json")
KNOWN = {"issuer": REPORTS["issuer"], "now_micros": REPORTS["nowMillis"] * 1_000}


def error_of(verify: Callable[..., dict[str, Any]], given: Any) -> str | None:
    """The kind of error; None: it holds, and its claims are those that were signed."""
    try:
        claims = verify(given, REPORTS["jwks"], **KNOWN)
    except ReportError as error:
        return type(error).__name__
    assert claims | {name: REPORTS["claims"][name] for name in ("issuedAt", "expiresAt")} == REPORTS["claims"]
    return None


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_what_the_code_makes(name: str) -> None:
    assert (FOLDER / name).read_text() == sdk_vectors.text_of(FILES[name]()), "run python -m tests.sdk_vectors"


def test_there_is_no_other_file() -> None:
    assert {one.name for one in FOLDER.iterdir()} == {*FILES, "reports.json"}


@pytest.mark.parametrize("one", REPORTS["reports"], ids=lambda one: one["name"])
def test_reports_are_judged_as_the_file_says(one: dict[str, Any]) -> None:
    # As bytes, since what is no object can come in no other way.
    text = sdk_vectors.text_of(one["report"]).encode()
    assert error_of(verify_report, text) == one["error"]


@pytest.mark.parametrize("one", REPORTS["texts"], ids=lambda one: one["name"])
def test_report_texts_are_judged_as_the_file_says(one: dict[str, Any]) -> None:
    assert error_of(verify_report, one["report"].encode()) == one["error"]


@pytest.mark.parametrize("one", REPORTS["tokens"], ids=lambda one: one["name"])
def test_tokens_are_judged_as_the_file_says(one: dict[str, Any]) -> None:
    assert error_of(verify_jwt, one["token"]) == one["error"]
