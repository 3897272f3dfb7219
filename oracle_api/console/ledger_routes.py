"""The ledger as published: keys, checkpoints, and proofs of the tenant's events. Browsers verify them."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response

from oracle_api.console.access import Visitor
from oracle_api.console.answers import answer
from oracle_api.console.parts import Parts
from oracle_api.ledger import Proofs
from pactstream.ledger.log_keys import parse_keys
from pactstream.ledger.tiles import CHECKPOINT, Missing
from pactstream.ledger.verification import KEYS, LEDGER
from pactstream.web import Refused, retry_after

_TEXT = "text/plain; charset=utf-8"
_MAX_SIZE = 2**53 - 1  # what JavaScript's numbers hold

LogNumber = Annotated[int, Path(ge=0, le=2**31 - 1)]
OldSize = Annotated[int, Query(alias="from", ge=1, le=_MAX_SIZE)]
NewSize = Annotated[int, Query(alias="to", ge=1, le=_MAX_SIZE)]


def router(parts: Parts) -> APIRouter:
    """Keys, checkpoints, proofs of events and of growth."""
    routes = APIRouter(dependencies=[Depends(parts.visitor)])
    here = Depends(parts.visitor)

    def proofs() -> Proofs:
        if parts.ledger.proofs is None:
            raise Refused(404, "this deployment publishes no ledger")
        return parts.ledger.proofs

    @routes.get("/ledger")
    async def ledger() -> Response:
        """The verifier keys, and the newest published note of each log."""
        return answer(await parts.rows.thread(partial(_published, proofs())))

    @routes.get("/ledger/{log}/consistency")
    async def consistency(log: LogNumber, old_size: OldSize, new_size: NewSize) -> Response:
        """The proof that the tree of one size extends that of another (RFC 9162, 2.1.4)."""
        try:
            return answer(await parts.rows.thread(partial(proofs().consistency, log, old_size, new_size)))
        except Missing as error:
            raise Refused(404, str(error)) from None

    @routes.get("/ledger/proofs/{event_id}")
    async def proof(event_id: UUID, visitor: Visitor = here) -> Response:
        """C2SP tlog-proof with the leaf as extra data."""
        found = await parts.events.one(visitor.tenant.pseudonym, event_id)
        if found is None:
            raise Refused(404, "nothing is known of this event")
        place = (found.event.log, found.event.leaf_index)
        try:
            inclusion = await parts.rows.thread(partial(proofs().inclusion, *place))
        except Missing as error:
            raise Refused(503, f"{error}: try again in a moment", headers=retry_after(1)) from None
        return Response(inclusion.encode(), media_type=_TEXT)

    return routes


def _published(proofs: Proofs) -> dict[str, object]:
    try:
        keys = proofs.file(KEYS)
    except Missing:
        return {"keys": "", "checkpoints": []}
    notes = []
    for origin in parse_keys(keys):
        log = origin.rpartition("/")[2]
        try:
            notes.append({"log": int(log), "note": proofs.file(f"{LEDGER}/{log}/{CHECKPOINT}").decode()})
        except Missing:
            continue  # a log without a leaf
    return {"keys": keys.decode(), "checkpoints": sorted(notes, key=lambda one: str(one["log"]).zfill(9))}
