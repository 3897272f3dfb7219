"""What stands behind a report, unsigned: violations page by page, a tenant's own share. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oracle_api import report
from oracle_api.state import Event, Share


def violations(agent_id: str, events: Sequence[Event], *, limit: int, deployment: str) -> dict[str, Any]:
    """A page of violating calls, newest first, each with its place in the ledger.

    `limit` is the page's; that there are more events than that says that there is a next one.
    """
    shown = events[:limit]
    return {
        "agentId": agent_id,
        "violations": [
            {
                **report.violation(one),
                "sessionId": one.session_id,
                "log": report.origin(deployment, one.log),
                "leafIndex": one.leaf_index,
            }
            for one in shown
        ],
        # Sequence numbers never change, so a page is the same whatever happened since.
        "nextCursor": str(shown[-1].sequence) if len(events) > limit else None,
    }


def comparison(agent_id: str, pseudonym: str, days: int, own: Share, every: Share) -> dict[str, Any]:
    """A tenant's own share beside the whole. Of others nothing is said, not even how many they are."""
    return {
        "agentId": agent_id,
        "windowDays": days,
        "tenants": [{"tenant": pseudonym, "yours": True, **_share(own)}],
        "all": _share(every),
    }


def _share(share: Share) -> dict[str, Any]:
    return {
        "toolCalls": share.calls,
        "bound": share.bound_calls,
        "valid": share.valid_calls,
        "rate": share.valid_calls / share.bound_calls if share.bound_calls else None,
        "latencyP95Ms": share.latency_p95_ms,
    }
