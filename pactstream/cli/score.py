"""`pactstream score explain`: an agent's score taken apart, from its public trust report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from pactstream.cli import output
from pactstream.cli.trust import agent_id_of, issuer_of, verified
from pactstream.errors import InvalidInput
from pactstream.fetch import fetch
from pactstream.scores.dimensions import TIERS, WINDOW_DAYS

app = typer.Typer(no_args_is_help=True, help="Scores.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def explain(
    agent: Annotated[str, typer.Argument(help="The agent's id (UUID).")],
    url: Annotated[
        str, typer.Option(help="The oracle's address.", envvar="PACTSTREAM_ORACLE_URL")
    ] = "http://127.0.0.1:8090",
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Check signature, issuer and dates.")] = False,
    issuer: Annotated[
        str | None, typer.Option(help="Who must have issued it; by default the oracle's host.")
    ] = None,
) -> None:
    """What an agent's score is made of: each dimension's part, what is uncovered, what a next tier asks."""
    agent_id = agent_id_of(agent)
    raw = fetch(f"{url}/api/v1/trust/{agent_id}")
    try:
        report = verified(raw, url, issuer=issuer_of(issuer, url)) if verify else json.loads(raw)
        found = explanation(agent_id, report["score"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput("the oracle's answer is no trust report") from error
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print(found)


def explanation(agent_id: str, score: Mapping[str, Any]) -> dict[str, Any]:
    """The `score` claim of a report, with each dimension's part of the composite and what the next tier asks.

    Raises:
        KeyError, TypeError, ValueError: it is no such claim.
    """
    covered = float(score["coveredWeight"])
    dimensions = [
        {
            **one,
            "points": None if one["score"] is None else one["weight"] * one["score"] / covered,
            "lost": None if one["score"] is None else one["weight"] * (100 - one["score"]) / covered,
        }
        for one in score["dimensions"]
    ]
    return {"agentId": agent_id, **score, "dimensions": dimensions, "nextTier": _next_tier(score)}


def _next_tier(score: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the next higher tier asks for, each with whether it is met; None at the top."""
    reached = [demand.tier for demand in TIERS].index(score["tier"]) if score["tier"] else len(TIERS)
    if not reached:
        return None
    demand = TIERS[reached - 1]
    has = {
        "composite": score["composite"] or 0,
        "confidence": score["confidence"] or 0,
        "sampleSize": score["sampleSize"],
    }
    asks = {
        "composite": demand.composite,
        "confidence": demand.confidence,
        "sampleSize": demand.sample_size,
    }
    return {"tier": demand.tier, "asks": asks, "met": {name: has[name] >= asks[name] for name in asks}}


def _print(found: Mapping[str, Any]) -> None:
    for line in _summary(found):
        typer.echo(line)
    listed = output.table("dimension", "weight", "score", "points", "lost", "confidence", "units", "from")
    for one in found["dimensions"]:
        if one["score"] is None:
            nothing = ("–", "–", "–", "0.00", "0", "no evidence: uncovered")
            output.row(listed, one["name"], f"{one['weight']:g}", *nothing)
            continue
        inputs = ", ".join(f"{name} {value:.4g}" for name, value in one["inputs"].items())
        figures = (f"{one['score']:.1f}", f"{one['points']:.2f}", f"{one['lost']:.2f}")
        size = (f"{one['confidence']:.2f}", f"{one['sampleSize']:.4g}")
        output.row(listed, one["name"], f"{one['weight']:g}", *figures, *size, inputs)
    output.show(listed)
    for one in found["attestations"]:
        claim = "" if one["claim"] is None else f": {json.dumps(one['claim'])}"
        typer.echo(
            output.printable(f"{one['kind']}, attested by {one['issuer']} until {one['expiresAt']}{claim}")
        )


def _summary(found: Mapping[str, Any]) -> Iterator[str]:
    if found["composite"] is None:
        yield f"{found['agentId']}: no composite, too little is covered ({found['coveredWeight']:g} of 100)"
    else:
        tier = found["tier"] or "no tier"
        yield (
            f"{found['agentId']}: {found['composite']:.2f} of 100 ({found['points']} of 1000), {tier}, "
            f"confidence {found['confidence']:.2f}, {found['coveredWeight']:g} of 100 covered"
        )
    following = found["nextTier"]
    if following is not None:
        missing = [f"{name} {following['asks'][name]:g}" for name, met in following["met"].items() if not met]
        yield f"for {following['tier']} it needs: {', '.join(missing)}"
    yield f"method {found['method']}, evidence of the last {WINDOW_DAYS} days"
