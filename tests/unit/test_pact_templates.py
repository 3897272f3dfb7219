from __future__ import annotations

import json

import pytest

from pactstream import schema_files
from pactstream.errors import InvalidInput
from pactstream.pacts import CompiledPact, Verdict, compile_pact, parse_pact, templates

NAMES = ["code-execution", "knowledge-publishing", "phi", "support", "treasury"]
EXAMPLES = [(name, example) for name in templates.names() for example in templates.examples(name)]


def test_the_five_templates_are_there() -> None:
    assert templates.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_a_pact_for_no_agent_yet_with_calls_of_both_kinds(name: str) -> None:
    assert parse_pact(templates.load(name)).agent_id is None
    assert {example.valid for example in templates.examples(name)} == {True, False}


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[f"{n}-{e.note[:40]}" for n, e in EXAMPLES])
def test_an_example_is_judged_as_it_says(name: str, example: templates.Example) -> None:
    compiled = compile_pact(parse_pact(templates.load(name)), pact_id=name, version=1)
    verdict = compiled.judge(example.tool, json.dumps(example.params).encode())
    assert verdict.bound
    assert verdict.valid is example.valid
    assert verdict.severity == example.severity
    found = tuple((violation.param_path, violation.rule) for violation in verdict.violations)
    assert found == example.violations


@pytest.mark.parametrize("name", ["nothing", "../atlas.pact", "treasury.examples", ""])
def test_an_unknown_template_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"no template is called .* treasury"):
        templates.load(name)
    with pytest.raises(InvalidInput):
        templates.examples(name)


@pytest.fixture(scope="module")
def atlas() -> CompiledPact:
    pact = parse_pact(schema_files.read_text("atlas.pact.json").encode())
    assert pact.agent_id == "76cf31d6-ffe3-4a5c-8748-021114aa8066"
    return compile_pact(pact, pact_id="atlas", version=1)


def judge(atlas: CompiledPact, tool: str, **params: object) -> Verdict:
    return atlas.judge(tool, json.dumps(params).encode())


def test_atlas_is_bound_in_every_tool_it_uses(atlas: CompiledPact) -> None:
    ordinary = [
        judge(
            atlas,
            "transfer_funds",
            destination="0xA11A5e5b1cD2aC3E4f60718293a4B5c6D7e8F901",
            amount=1000,
            currency="USDC",
        ),
        judge(atlas, "get_balance", account="operations"),
        judge(atlas, "list_invoices", status="open", limit=20),
        judge(atlas, "fetch_exchange_rate", base="USDC", quote="EUR"),
        judge(atlas, "get_vendor", vendorId="vendor-acme"),
    ]
    assert all(verdict.valid and verdict.bound for verdict in ordinary)


def test_the_violation_of_atlas_is_critical_and_lists_destination_and_amount(atlas: CompiledPact) -> None:
    verdict = judge(atlas, "transfer_funds", destination="0xBAD", amount=5000, currency="USDC")
    assert verdict.severity == "critical"
    assert [(violation.param_path, violation.rule) for violation in verdict.violations] == [
        ("destination", "allowList"),
        ("amount", "valueRange"),
        ("amount", "maxAmount"),
    ]
