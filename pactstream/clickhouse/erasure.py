"""Deleting private values from ClickHouse, and counting what is left of them."""

from __future__ import annotations

from typing import Final

from pactstream.clickhouse.client import ClickHouse
from pactstream.clickhouse.cluster import local
from pactstream.errors import Retryable
from pactstream.ledger.erasure import Erasure, Scope

_OF_SCOPE: Final = (
    "agent_id = {agent:UUID} AND tenant = {tenant:String}"
    " AND ({session:String} = '' OR session_id = {session:String})"
    " AND ({event:String} = '' OR event_id = toUUIDOrZero({event:String}))"
)
_BEFORE: Final = f"{_OF_SCOPE} AND log = {{log:UInt16}} AND leaf_index < {{leaf_index:UInt64}}"

# 2: this replica and every other one. Without it the statement only queues a mutation.
_AND_WAIT: Final = {"mutations_sync": 2}


def values(database: ClickHouse, scope: Scope) -> tuple[int, int]:
    """How many private values there are, and of how many events.

    Raises:
        Retryable: ClickHouse does not answer.
    """
    sql = f"SELECT count(), uniqExact(event_id) FROM room_event_payloads WHERE {_OF_SCOPE}"  # noqa: S608 - ours
    ((found, events),) = database.rows(sql, _parameters(scope))
    return int(found), int(events)


def left(database: ClickHouse, erasure: Erasure) -> int:
    """How many of the values that the erasure covers are still there.

    Raises:
        Retryable: ClickHouse does not answer.
    """
    sql = f"SELECT count() FROM room_event_payloads WHERE {_BEFORE}"  # noqa: S608 - ours
    ((found,),) = database.rows(sql, _bounds(erasure))
    return int(found)


def erase(database: ClickHouse, erasure: Erasure) -> None:
    """Delete the values that the erasure covers; they are in no active part of any replica when this returns.

    Repeating it changes nothing.

    Raises:
        Retryable: ClickHouse does not answer, or is not done within the client's time-out (a minute): it goes
            on by itself, and the next call finds less to delete or nothing.
    """
    if not left(database, erasure):
        return  # the usual case on a repeat: no mutation, which would look at every part
    sql = f"ALTER TABLE {local('room_event_payloads', database.cluster)} DELETE WHERE {_BEFORE}"
    database.command(sql, _bounds(erasure), settings=_AND_WAIT)
    if left(database, erasure):
        raise Retryable("ClickHouse has not deleted all values of an erasure yet")


def _bounds(erasure: Erasure) -> dict[str, object]:
    return {**_parameters(erasure.scope), "log": erasure.log, "leaf_index": erasure.leaf_index}


def _parameters(scope: Scope) -> dict[str, object]:
    return {
        "agent": scope.agent_id,
        "tenant": scope.tenant,
        "session": scope.session_id or "",
        "event": scope.event_id or "",
    }
