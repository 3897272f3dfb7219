"""Atlas, the reference agent: five treasury sessions a day, twenty-five tool calls, one deliberate violation.

The day is a pure function of its seed; running it sends it through the SDK like any agent's telemetry.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pactstream import clock, schema_files
from pactstream.sdk import Telemetry

AGENT_ID = "76cf31d6-ffe3-4a5c-8748-021114aa8066"
PACT_ID = "a71a5000-7265-4173-8572-790000000001"
SESSIONS = 5
TOOL_CALLS = 25
MIN_CALLS, MAX_CALLS = 3, 6
VIOLATING_SESSION = 2  # the third
VIOLATED_RULES = {("destination", "allowList"), ("amount", "valueRange"), ("amount", "maxAmount")}
_DAY_SECONDS = 86_400

_VENDORS = {
    "vendor-acme": "0xA11A5e5b1cD2aC3E4f60718293a4B5c6D7e8F901",
    "vendor-borealis": "0xB0b4C1d2E3f405162738495a6B7c8D9e0F1a2B3c",
    "vendor-cobalt": "0xC4a7D8e9F0a1B2c3D4e5F60718293A4b5C6d7E8f",
}
_STRANGER = "0xBAD0BAD0BAD0BAD0BAD0BAD0BAD0BAD0BAD0BAD0"


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call."""

    tool: str
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Session:
    """One unit of work: what was asked, what was called, what was answered."""

    initiator: str
    request: str
    calls: tuple[Call, ...]
    answer: str


def pact_document() -> str:
    """Atlas's pact, as JSON."""
    return schema_files.read_text("atlas.pact.json")


def day(seed: int) -> tuple[Session, ...]:
    """The sessions of one day: 5 of them, 3 to 6 calls each, 25 in all, the third with the violation."""
    chance = random.Random(seed)  # noqa: S311 - a script for a demonstration, not a secret
    return tuple(_session(chance, index, count) for index, count in enumerate(_counts(chance)))


def run(
    telemetry: Telemetry,
    seed: int,
    *,
    daily: bool = False,
    pause_seconds: float = 0,
    pact_id: str = PACT_ID,
) -> None:
    """Live through a day's sessions, with a pause after each; with `daily`, go on for ever.

    Each further day has the next seed, and its sessions are spread over its hours. Returns when everything is
    recorded; sending it is the SDK's affair (`flush`, `close`).
    """
    tools = {name: telemetry.instrument_tool(tool, name=name) for name, tool in _TOOLS.items()}
    while True:
        today = datetime.now(UTC).date()
        for index, session in enumerate(day(seed)):
            session_id = f"atlas-{today}-{seed}-{index + 1}"
            with telemetry.session(session_id, pact_id=pact_id, metadata={"initiator": session.initiator}):
                _live(telemetry, tools, session)
            time.sleep(_DAY_SECONDS / SESSIONS if daily else pause_seconds)
        if not daily:
            return
        seed += 1


def _live(telemetry: Telemetry, tools: Mapping[str, Callable[..., object]], session: Session) -> None:
    started = clock.monotonic_seconds()
    for call in session.calls:
        tools[call.tool](**call.params)
    telemetry.response(
        input=session.request,
        output=session.answer,
        latency_ms=round((clock.monotonic_seconds() - started) * 1_000, 3),
        token_count=len(session.answer.split()),
    )


def _counts(chance: random.Random) -> list[int]:
    """Calls of each session: random within the limits, with the right sum."""
    counts = [MIN_CALLS] * SESSIONS
    while sum(counts) < TOOL_CALLS:
        index = chance.randrange(SESSIONS)
        if counts[index] < MAX_CALLS:
            counts[index] += 1
    return counts


def _session(chance: random.Random, index: int, count: int) -> Session:
    vendor = chance.choice(sorted(_VENDORS))
    amount = chance.randint(5, 950)
    look_ups = [
        Call("get_balance", {"account": "treasury-main"}),
        Call("list_invoices", {"status": "due", "limit": chance.randint(5, 50)}),
        Call("fetch_exchange_rate", {"base": "USDC", "quote": "SGD"}),
        Call("get_vendor", {"vendorId": vendor}),
        Call("get_balance", {"account": "treasury-reserve"}),
    ]
    pay = {"destination": _VENDORS[vendor], "amount": amount, "currency": "USDC"}
    if index == VIOLATING_SESSION:
        # The deliberate one: a destination off the list and an amount above the cap.
        amount = chance.randint(2_000, 9_000)
        pay = {"destination": _STRANGER, "amount": amount, "currency": "USDC"}
    calls = (*look_ups[: count - 1], Call("transfer_funds", pay))
    return Session(
        initiator="cron:treasury-sweep",
        request=f"Settle what is due to {vendor}.",
        calls=calls,
        answer=f"Settled {amount} USDC with {vendor} after {count - 1} checks.",
    )


# The tools themselves: a small treasury that always answers. What matters is what is recorded about them.


def _get_balance(account: str) -> dict[str, object]:
    return {"account": account, "balance": "250000.00", "currency": "USDC"}


def _list_invoices(status: str, limit: int) -> list[dict[str, object]]:
    return [{"id": f"inv-{n}", "status": status} for n in range(min(limit, 3))]


def _fetch_exchange_rate(base: str, quote: str) -> dict[str, str]:
    return {"pair": f"{base}/{quote}", "rate": "1.34"}


def _get_vendor(vendorId: str) -> dict[str, str | None]:  # noqa: N803 - the tool's own parameter name
    return {"id": vendorId, "address": _VENDORS.get(vendorId)}


def _transfer_funds(destination: str, amount: float, currency: str) -> dict[str, object]:
    return {"receipt": f"rcpt-{amount}", "destination": destination, "currency": currency}


_TOOLS: dict[str, Callable[..., object]] = {
    "get_balance": _get_balance,
    "list_invoices": _list_invoices,
    "fetch_exchange_rate": _fetch_exchange_rate,
    "get_vendor": _get_vendor,
    "transfer_funds": _transfer_funds,
}
