"""A tenant's recorded calls under a pact, from ClickHouse, to be judged again under another version.

Parameters are put together from the openings of the leaves' commitments. A call of which any was erased is left
out and counted: judged without it, it would seem to lack a parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from uuid import UUID

import msgspec

from oracle_api.console.rows import Rows
from pactstream import clock
from pactstream.control.tenants import Tenant
from pactstream.errors import InvalidInput
from pactstream.pacts import CompiledPact, Pact, compile_pact, parse_pact
from pactstream.review.replay import Choice, Comparison, Recorded, compare_calls, lead_micros

MAX_CALLS: Final = 10_000
_DAY_MICROS = 86_400 * clock.MICROS_PER_SECOND
_PREFIX = "params."

# The newest calls: where there are more than can be judged at once, the older ones are left out.
_CALLS = f"""
SELECT toString(event_id), toString(agent_id), tool, outcome, session_id, toUnixTimestamp64Micro(occurred_at),
    toUnixTimestamp64Micro(received_at), pact_version, log, leaf_index,
    arrayFilter(k -> k = 'params' OR startsWith(k, 'params.'), JSONExtractKeys(leaf, 'commitments'))
FROM room_events
WHERE tenant = {{tenant:String}} AND pact_id = {{pact:UUID}} AND type = 'tool_call'
    AND received_at >= fromUnixTimestamp64Micro({{since:Int64}})
ORDER BY received_at DESC, log DESC, leaf_index DESC LIMIT {MAX_CALLS}
"""  # noqa: S608 - a constant
_PARAMS = """
SELECT log, leaf_index, groupArray((field, value)) FROM room_event_payloads
WHERE tenant = {tenant:String} AND (field = 'params' OR startsWith(field, 'params.'))
    AND agent_id IN {agents:Array(UUID)} AND log IN {logs:Array(UInt16)}
    AND leaf_index BETWEEN {first:UInt64} AND {last:UInt64}
GROUP BY log, leaf_index
"""
_VERSIONS = """
SELECT DISTINCT version, document FROM pacts
WHERE tenant_id = {tenant:String} AND pact_id = {pact:UUID} AND version IN {versions:Array(UInt32)} LIMIT 100
"""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the new version says of the recorded calls; `erased` and `older` ones were left out."""

    comparison: Comparison
    erased: int
    since_micros: int
    cut: bool


async def replay(rows: Rows, tenant: Tenant, pact_id: UUID, new: Pact) -> Replayed:
    """Judge the last 24 hours' calls of this tenant under this pact again; the latest `MAX_CALLS` of them."""
    since = clock.now_micros() - _DAY_MICROS
    lead = min(lead_micros(new), _DAY_MICROS)
    pseudonym = tenant.pseudonym
    found = await rows.ask(_CALLS, tenant=pseudonym, pact=pact_id, since=since - lead)
    params = await _params(rows, pseudonym, found)
    calls, erased = [], 0
    for row in reversed(found):
        call = _call(row, str(pact_id), params.get((row[8], row[9]), {}))
        if call is None:
            erased += 1
        else:
            calls.append(call)
    versions = sorted({one.pact_version for one in calls if one.pact_version is not None})
    documents = dict(
        await rows.ask(_VERSIONS, tenant=tenant.tenant_id, pact=pact_id, versions=versions) if versions else ()
    )

    @cache
    def stamped(of: str, version: int) -> CompiledPact | None:
        document = documents.get(version)
        try:
            return None if document is None else _compiled(document, of, version)
        except InvalidInput:
            return None  # written by a newer release

    compiled = compile_pact(new, pact_id="replay", version=1)
    choice = Choice(None, str(pact_id), since)
    comparison = await rows.thread(lambda: compare_calls(calls, compiled, stamped, choice))
    return Replayed(comparison, erased, since, len(found) == MAX_CALLS)


async def _params(rows: Rows, tenant: str, found: Sequence[Any]) -> dict[tuple[int, int], dict[str, str]]:
    if not found:
        return {}
    indexes = [row[9] for row in found]
    opened = await rows.ask(
        _PARAMS,
        tenant=tenant,
        agents=sorted({row[1] for row in found}),
        logs=sorted({row[8] for row in found}),
        first=min(indexes),
        last=max(indexes),
    )
    return {(log, index): dict(fields) for log, index, fields in opened}


def _call(row: Sequence[Any], pact_id: str, opened: dict[str, str]) -> Recorded | None:
    """The call; None if a parameter was erased."""
    event_id, agent, tool, outcome, session, occurred, received, version, _, _, committed = row
    if set(committed) - opened.keys():
        return None
    return Recorded(
        agent, event_id, tool, _object(opened), outcome, session, occurred, received, pact_id, version
    )


def _object(opened: dict[str, str]) -> bytes:
    if "params" in opened:
        return opened["params"].encode()
    members = {name.removeprefix(_PREFIX): msgspec.Raw(value.encode()) for name, value in opened.items()}
    return msgspec.json.encode(members)


def _compiled(document: str, pact_id: str, version: int) -> CompiledPact:
    return compile_pact(parse_pact(document.encode()), pact_id=pact_id, version=version)
