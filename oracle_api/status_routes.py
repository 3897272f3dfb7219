"""`/status`: how the oracle is and was, for people and as JSON."""

from __future__ import annotations

from datetime import date, timedelta
from html import escape
from typing import Any

import anyio
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from oracle_api import pages
from oracle_api.common import ERRORS
from oracle_api.parts import Parts
from oracle_api.status import HISTORY_DAYS

_CACHING = {"Cache-Control": "public, max-age=5"}


def router(parts: Parts) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Status"], responses=ERRORS)

    @routes.get("/status.json", summary="How the oracle is and was")
    async def figures() -> Response:
        """Measured by the oracle's own processes every ten seconds; 90 days. Null: not measured."""
        return JSONResponse(await anyio.to_thread.run_sync(parts.status), headers=_CACHING)

    @routes.get("/status", include_in_schema=False)
    async def page() -> Response:
        text = html(await anyio.to_thread.run_sync(parts.status))
        headers = _CACHING | {"Content-Security-Policy": pages.POLICY}
        return Response(text, media_type="text/html", headers=headers)

    return routes


def html(status: dict[str, Any]) -> str:
    """The page: in a word, then one table of now, one of incidents, one of days. No script."""
    now = status["now"]
    rows = [("Queries a second", "queriesPerSecond"), ("Failures", "failures")]
    rows += [("Self-checks of signatures", "signatureChecks"), ("of these failed", "signatureFailures")]
    rows += [("Freshness lag, arrival to seal, seconds", "freshnessLagSeconds"), ("Processes", "processes")]
    figures = "".join(_row(name, _shown(now[key])) for name, key in rows) if now else ""
    if now:
        figures += "".join(
            _row(f"Latency {name}, ms", _shown(value)) for name, value in now["latencyMs"].items()
        )
    current = f"<table>{figures}</table>" if now else "<p>Nothing was measured.</p>"
    incidents = "".join(
        _row(escape(one["kind"]), f"{one['from']} to {one['to']}") for one in status["incidents"]
    )
    days = "".join(_day(one) for one in reversed(status["days"]))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Oracle status</title>'
        '<link rel="stylesheet" href="/demo/status.css"></head><body>'
        f"<h1>{escape(status['issuer'])}: status</h1><p>As of {status['at']}. "
        '<a href="/status.json">JSON</a></p>'
        f"{_in_a_word(now)}{_calendar(status['at'][:10], status['days'])}"
        f"<h2>The last five minutes</h2>{current}"
        f"<h2>Incidents</h2>{f'<table>{incidents}</table>' if incidents else '<p>None in 90 days.</p>'}"
        '<h2>Days</h2><div class="scroll"><table><tr><th>Day</th><th>Available</th><th>Queries</th>'
        "<th>p50 ms</th><th>p95 ms</th><th>p99 ms</th><th>Signature failures</th></tr>"
        f"{days}</table></div></body></html>"
    )


def _in_a_word(now: dict[str, Any] | None) -> str:
    """What the last five minutes come to, by the measure of availability."""
    if now is None:
        return '<p class="bad">Not observed in the last five minutes.</p>'
    if now["signatureFailures"]:
        return '<p class="bad">Reports do not verify.</p>'
    if now["failures"] * 20 > now["queries"]:
        return '<p class="bad">Requests fail.</p>'
    return '<p class="good">In order.</p>'


def _calendar(today: str, days: list[dict[str, Any]]) -> str:
    """A bar for each of the last 90 days. One without any sample, between the first and today, was down."""
    known = {one["day"]: one["availability"] or 0.0 for one in days}
    begun = min(known, default="9999")
    last = date.fromisoformat(today)
    bars = []
    for place in range(HISTORY_DAYS):
        day = (last - timedelta(HISTORY_DAYS - 1 - place)).isoformat()
        share = known.get(day, 0.0)
        ahead = day < begun or (day == today and day not in known)
        kind = "none" if ahead else "up" if share >= 0.999 else "fair" if share >= 0.95 else "down"
        said = f"{day}: not measured" if ahead else f"{day}: {100 * share:.2f} %"
        bars.append(f'<rect class="{kind}" x="{10 * place}" width="8" height="30"><title>{said}</title></rect>')
    label = f"Availability of the last {HISTORY_DAYS} days, oldest first"
    size = f"0 0 {10 * HISTORY_DAYS} 30"
    return f'<svg class="days" viewBox="{size}" role="img" aria-label="{label}">{"".join(bars)}</svg>'


def _day(day: dict[str, Any]) -> str:
    available = "–" if day["availability"] is None else f"{100 * day['availability']:.2f} %"
    latency = day["latencyMs"]
    cells = (
        day["day"],
        available,
        day["queries"],
        *(_shown(latency[one]) for one in ("p50", "p95", "p99")),
        day["signatureFailures"],
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _row(name: str, value: object) -> str:
    return f'<tr><th scope="row">{name}</th><td>{value}</td></tr>'


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"
