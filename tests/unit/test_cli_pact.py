"""`pactstream pact …` on files: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli_tools import Run, runner

AGENT = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
GOOD = {"tool": "get_balance", "params": {"account": "operations"}}
BAD = {
    "tool": "transfer_batch",
    "params": {"transfers": [{"destination": "0xBAD", "amount": 1, "currency": "USDC"}]},
}


@pytest.fixture
def pactstream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    run = runner(monkeypatch, capsys)
    assert run("pact", "fork", "treasury", "--to", "pact.json").code == 0
    return run


def lines(name: str, *entries: object) -> str:
    Path(name).write_text("".join(json.dumps(one) + "\n" for one in entries), encoding="utf-8")
    return name


def pact(name: str, *rules: dict[str, Any], severity: str = "major", **binding: Any) -> str:
    bound = {"tool": "pay", "rules": list(rules), **binding}
    condition = {"type": "param_binding", "severity": severity, "parameterBinding": bound}
    Path(name).write_text(json.dumps({"name": name, "conditions": [condition]}), encoding="utf-8")
    return name


def test_a_fork_is_a_pact_and_is_never_overwritten(pactstream: Run) -> None:
    assert pactstream("pact", "check", "pact.json").out.startswith("pact.json: in order, ")
    code, _, err = pactstream("pact", "fork", "treasury", "--to", "pact.json")
    assert (code, err) == (3, "pactstream: pact.json exists; choose another file with --to\n")
    code, _, err = pactstream("pact", "fork", "poker")
    assert code == 3
    assert err.startswith("pactstream: there is no template 'poker'; there are: code-execution, ")


def test_check_names_every_fault(pactstream: Run) -> None:
    Path("bad.json").write_text('{"name": "", "conditions": [{"type": "?"}]}')
    code, _, err = pactstream("pact", "check", "bad.json")
    assert code == 1
    assert err.splitlines()[0].startswith("pactstream: invalid pact: ")
    assert len(err.splitlines()) > 3


def test_judge_says_what_is_wrong(pactstream: Run) -> None:
    assert pactstream("pact", "judge", "pact.json", "--tool", "zap", "--params", "{}").out.startswith(
        "not bound"
    )
    code, out, err = pactstream("pact", "judge", "pact.json", "--tool", "swap", "--params", '{"from":"BTC"}')
    assert code == 1
    assert "is not on the allow-list" in out
    assert err == "pactstream: the call violates the pact (major)\n"


def test_events_without_violations_are_in_order(pactstream: Run) -> None:
    events = lines("events.jsonl", GOOD, {"tool": "unheard_of", "params": {}})
    code, out, _ = pactstream("pact", "test", "pact.json", "--events", events)
    assert code == 0
    assert [line.split()[2:4] for line in out.splitlines()[1:3]] == [
        ["get_balance", "valid"],
        ["unheard_of", "unbound"],
    ]
    assert out.endswith("2 calls, 0 violated, 0 not in order\n")


def test_a_violation_is_explained_and_counts(pactstream: Run) -> None:
    code, out, err = pactstream("pact", "test", "pact.json", "--events", lines("e", GOOD, BAD))
    assert (code, err) == (1, "")
    assert 'transfers[0].destination is "0xBAD", which is not on the allow-list.' in out
    assert out.endswith("2 calls, 1 violated, 1 not in order\n")


@pytest.mark.parametrize(
    "expect",
    [
        "violated",
        "critical",
        {"valid": False},
        {
            "severity": "critical",
            "violations": [{"paramPath": "transfers[0].destination", "rule": "allowList"}],
        },
    ],
)
def test_an_expected_violation_is_in_order(pactstream: Run, expect: object) -> None:
    events = lines("e", {**GOOD, "expect": "valid"}, {**BAD, "expect": expect})
    code, out, _ = pactstream("pact", "test", "pact.json", "--events", events)
    assert (code, out.splitlines()[-1]) == (0, "2 calls, 1 violated, 0 not in order")


@pytest.mark.parametrize(
    ("entry", "expect", "says"),
    [
        (GOOD, "critical", "expected critical"),
        (GOOD, {"bound": False}, "expected bound false, found true"),
        (BAD, "valid", "expected valid"),
        (BAD, {"severity": "minor"}, "expected severity minor, found critical"),
        (BAD, {"violations": []}, "did not expect transfers[0].destination (allowList)"),
        (GOOD, {"violations": [{"paramPath": "a", "rule": "regex"}]}, "expected a (regex), which passed"),
    ],
)
def test_a_disappointed_expectation_is_not_in_order(
    pactstream: Run, entry: dict[str, Any], expect: object, says: str
) -> None:
    code, out, _ = pactstream("pact", "test", "pact.json", "--events", lines("e", {**entry, "expect": expect}))
    assert code == 1
    assert says in out


def test_wire_events_are_taken_as_the_gateway_takes_them(pactstream: Run) -> None:
    common = {"sessionId": "s-1", "agentId": AGENT}
    call = {**common, "type": "tool_call", **GOOD, "outcome": "success", "attemptedAt": "2026-05-13T10:00:00Z"}
    start = {**common, "type": "session_start", "startedAt": "2026-05-13T10:00:00Z"}
    Path("array.json").write_text(json.dumps([start, call, {**call, "expect": "valid"}], indent=1))
    code, out, _ = pactstream("pact", "test", "pact.json", "--events", "array.json")
    assert (code, out.splitlines()[-1]) == (0, "2 calls, 0 violated, 0 not in order, 1 other event left out")


def test_digits_and_duplicate_keys_reach_the_judge_as_they_are_written(pactstream: Run) -> None:
    pact("exact.json", {"paramPath": "amount", "valueRange": {"max": 500}})
    Path("e").write_text('{"tool": "pay", "params": {"amount": 500.00000000000000001}}\n')
    assert pactstream("pact", "test", "exact.json", "--events", "e").code == 1
    Path("e").write_text('{"tool": "pay", "params": {"amount": 500.00000000000000000}}\n')
    assert pactstream("pact", "test", "exact.json", "--events", "e").code == 0


def test_windows_count_the_calls_of_the_file_in_order(pactstream: Run) -> None:
    window = {"aggregate": "count", "tools": ["pay"], "over": "session", "limit": 2}
    document = {"name": "w", "conditions": [{"type": "window", "severity": "minor", "window": window}]}
    Path("window.json").write_text(json.dumps(document))
    call = {"tool": "pay", "params": {}}
    events = lines("e", call, call, {**call, "sessionId": "other"}, {**call, "expect": "minor"})
    assert pactstream("pact", "test", "window.json", "--events", events).code == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "e: there is no tool call in it"),
        ('{"tool": "t", "params": {}}\n{"tool": "t"', "e: line 2: not JSON"),
        ("[1]", "e: entry 1: Expected `object`"),
        ('{"tool": "t"}', "e: line 1: Object missing required field `params`"),
        ('{"tool": "t", "params": []}', "e: line 1: params: must be an object"),
        ('{"tool": "t", "parms": {}, "params": {}}', "e: line 1: Object contains unknown field `parms`"),
        ('{"tool": "t", "params": {"a": 1, "a": 2}}', "e: line 1: not JSON: Detected duplicate key"),
        ('{"tool": "t", "params": {}, "expect": "fine"}', "e: line 1: Invalid enum value 'fine'"),
        (
            '{"type": "tool_call", "tool": "t", "params": {}}',
            "e: line 1: the event: Object missing required field",
        ),
        ('[{"type": "nonsense"}]', "e: entry 1: type: Invalid value 'nonsense'"),
    ],
)
def test_a_file_that_is_no_list_of_calls_is_one_clear_line(pactstream: Run, text: str, says: str) -> None:
    Path("e").write_text(text)
    code, out, err = pactstream("pact", "test", "pact.json", "--events", "e")
    assert (code, out, err.count("\n")) == (3, "", 1), err
    assert err.startswith(f"pactstream: {says}")


def test_output_cannot_play_tricks_on_a_terminal(pactstream: Run) -> None:
    entry = {"tool": "swap", "params": {"from": "\x1b[2J\u202e[red]", "to": "USDC", "slippageBps": 1}}
    _, out, _ = pactstream("pact", "test", "pact.json", "--events", lines("e", entry))
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "[red]" in out


def test_pacts_of_one_meaning_do_not_differ(pactstream: Run) -> None:
    pact(
        "a",
        {"paramPath": "x", "allowList": ["1", "2"], "required": True},
        {"paramPath": "y", "valueRange": {"max": 5}},
    )
    pact(
        "b",
        {"paramPath": "y", "valueRange": {"max": "5"}},
        {"paramPath": "x", "required": True, "allowList": [2, 1]},
    )
    assert pactstream("pact", "diff", "a", "b") == (0, "no difference: the same demands, in other words\n", "")
    assert pactstream("pact", "diff", "a", "a") == (0, "no difference: the same document\n", "")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ({"allowList": ["a", "b"]}, {"allowList": ["a"]}, 'allowList ~ − "b" stricter'),
        ({"allowList": ["a"]}, {"allowList": ["b"]}, 'allowList ~ + "b", − "a" differs'),
        ({"denyList": ["a"]}, {"denyList": ["a", "b"]}, 'denyList ~ + "b" stricter'),
        (
            {"denyList": ["ab"], "caseInsensitive": True},
            {"denyList": ["ab"]},
            'denyList ~ "ab" in any case → "ab" looser',
        ),
        (
            {"valueRange": {"min": 0, "max": 9}},
            {"valueRange": {"max": 9}},
            "valueRange ~ 0 to 9 → at most 9 looser",
        ),
        ({"valueRange": {"max": 9}}, {"valueRange": {"min": 1, "max": 10}}, "~ at most 9 → 1 to 10 differs"),
        ({"regex": "^a$"}, {"regex": "^b$"}, "regex ~ /^a$/ → /^b$/ differs"),
        ({"valueRange": {"max": 9}}, {}, "valueRange − at most 9 (major) looser"),
        ({}, {"required": True}, "required + (major) stricter"),
        (
            {"maxAmount": {"amount": 10, "currency": "USDC"}},
            {"maxAmount": {"amount": "9.5", "currency": "USDC"}},
            "at most 10 USDC (at currency) → at most 9.5 USDC (at currency) stricter",
        ),
        (
            {"maxAmount": {"amount": 10, "currency": "USDC"}},
            {"maxAmount": {"amount": 9, "currency": "EUR"}},
            "at most 9 EUR (at currency) differs",
        ),
    ],
)
def test_a_difference_says_what_and_which_way(
    pactstream: Run, old: dict[str, Any], new: dict[str, Any], says: str
) -> None:
    pact("a", {"paramPath": "x", **old})
    pact("b", {"paramPath": "x", **new})
    code, out, err = pactstream("pact", "diff", "a", "b")
    assert (code, err) == (1, "")
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert any(row.startswith("pay x ") and row.endswith(says) for row in rows), out


def test_severities_names_tools_and_windows_differ_too(pactstream: Run) -> None:
    pact("a", {"paramPath": "x", "required": True}, unknownParams="forbid")
    pact(
        "b",
        {"paramPath": "x", "required": True},
        {"paramPath": "y"},
        severity="critical",
        unknownParams="forbid",
    )
    document = json.loads(Path("b").read_text())
    window = {"aggregate": "sum", "tools": ["pay"], "paramPath": "x", "over": {"sliding": "PT1H"}, "limit": 9}
    document["conditions"].append({"type": "window", "severity": "info", "window": window})
    document["agentId"] = AGENT
    Path("b").write_text(json.dumps(document))
    rows = [" ".join(line.split()) for line in pactstream("pact", "diff", "a", "b").out.splitlines()]
    assert rows[1:] == [
        f"(pact) - agentId ~ any agent → {AGENT} differs",
        'pay - unknownParams ~ nothing but "x" → nothing but "x", "y"; major → critical differs',
        "pay x required ~ major → critical stricter",
        "pay x window sum + at most 9 in 1 h, for the agent (info) stricter",
        "4 differences: 2 stricter, 2 differs",
    ]


def test_a_file_that_is_no_pact_is_one_clear_line(pactstream: Run) -> None:
    Path("bad.json").write_text('{"name": "x"}')
    for arguments in [("diff", "pact.json", "bad.json"), ("test", "bad.json", "--events", "pact.json")]:
        code, out, err = pactstream("pact", *arguments)
        assert (code, out, err) == (3, "", "pactstream: bad.json: invalid pact: conditions: is missing\n")
    assert pactstream("pact", "diff", "none", "pact.json").err == (
        "pactstream: cannot read none: No such file or directory\n"
    )
