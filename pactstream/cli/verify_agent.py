"""`pactstream verify agent`: an agent's whole history, and whether its signed report follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from pactstream.cli.trust import agent_id_of, issuer_of, verified
from pactstream.cli.verify import (
    DEFAULT_URL,
    Keys,
    Quorum,
    State,
    Url,
    Witnesses,
    policy_of,
    raise_for,
    read,
    run,
)
from pactstream.errors import InvalidInput
from pactstream.ledger import merkle
from pactstream.ledger.leaf import parse_leaf
from pactstream.ledger.note import Checkpoint, NoteError, parse_note
from pactstream.ledger.published import Result
from pactstream.ledger.tiles import CHECKPOINT, Fetch, Missing
from pactstream.ledger.verification import log_files, source
from pactstream.scores.attestation import parse_issuers
from pactstream.scores.claims import Claims, HeadClaim, parse_claims
from pactstream.scores.recount import Recount

PUBLISHED_WITHIN_SECONDS = 15.0
"""What a report counts is in the published ledger after so long, where the sealer is well."""


def agent(
    agent: Annotated[str, typer.Argument(help="The agent's id (UUID).")],
    url: Url = DEFAULT_URL,
    keys: Keys = None,
    witness: Witnesses = None,
    quorum: Quorum = None,
    state: State = None,
    issuer: Annotated[
        str | None, typer.Option(help="Who must have issued its report; by default the oracle's host.")
    ] = None,
    issuers: Annotated[
        Path | None,
        typer.Option(
            help="File of those whose attestations count, as the gateway lists them (`/api/v1/issuers`): check "
            "each attestation's signature.",
            dir_okay=False,
        ),
    ] = None,
) -> None:
    """Check that an agent's history is whole, and that its signed report says what follows from it.

    Any of the logs could hide a leaf of it: so all are verified, from their first leaf. Score, counts and
    violations of the report are computed again from the agent's leaves.
    """
    agent_id = agent_id_of(agent)
    known = None if issuers is None else parse_issuers(read(issuers))
    report = _report(url, agent_id, issuer)  # first, so that the checkpoint is not older than the report
    recount = None if report is None else Recount(report, known)
    claimed = None if report is None else report.ledger.head
    named: list[bytes] = []

    def on_leaf(origin: str, index: int, entry: bytes) -> None:
        if recount is not None:
            recount.take(entry)
        if claimed is not None and (origin, index) == (claimed.log, claimed.leaf_index):
            named.append(entry)

    results = run(url, keys, policy_of(witness, quorum), state, on_leaf=on_leaf)
    raise_for(results)
    home = _home(agent_id, results)
    head = (home.heads or {})[agent_id]
    typer.echo(f"{agent_id}: {head.sequence} leaves in {home.origin}, none missing, none changed")
    typer.echo(f"latest leaf {head.leaf_hash.hex()}")
    if recount is None:
        typer.echo("no signed report to compare it with")
        return
    typer.echo(_compare_head(claimed, agent_id, home.origin, named))
    if differences := recount.differences():
        raise InvalidInput("the signed report does not follow from the agent's leaves", differences)
    typer.echo("its score, counts and violations are those of the leaves, computed again")
    if recount.unchecked_attestations:
        typer.echo(f"signatures not checked of {recount.unchecked_attestations} attestations: see --issuers")


def _report(url: str, agent_id: str, issuer: str | None) -> Claims | None:
    """What the agent's signed report claims, once the ledger has what it counts; None where there is none."""
    if not url.startswith(("http://", "https://")):
        return None

    fetch = source(url)

    def fetched() -> Claims:
        raw = fetch(f"api/v1/trust/{agent_id}")
        return parse_claims(verified(raw, url, issuer=issuer_of(issuer, url)))

    try:
        report = fetched()
    except Missing:
        return None
    # Events are scored before they are sealed: a busy agent's report counts some that no checkpoint has yet.
    waiting = Retrying(
        stop=stop_after_delay(PUBLISHED_WITHIN_SECONDS),
        wait=wait_fixed(0.5),
        retry=retry_if_result(lambda published: not published),
        retry_error_callback=lambda state: None,  # then its leaves are missing, and named
    )
    if not _is_published(report.ledger.head, report.counted, fetch):
        waiting(lambda: _is_published(fetched().ledger.head, report.counted, fetch))
    return report


def _is_published(head: HeadClaim | None, counted: int, fetch: Fetch) -> bool:
    """Whether the published log has the agent's leaves up to the one counted, by a head that is not older."""
    if head is None or head.sequence < counted:
        return counted == 0
    try:
        checkpoint = log_files(fetch, head.log)(CHECKPOINT)
        return Checkpoint.parse(parse_note(checkpoint).text).size > head.leaf_index
    except Missing:
        return False
    except NoteError:
        return True  # the verification says what is wrong with it


def _home(agent_id: str, results: list[Result]) -> Result:
    """The one log with the agent's leaves."""
    homes = [one for one in results if one.heads and agent_id in one.heads]
    if len(homes) != 1:
        where = ", ".join(one.origin for one in homes) or "none"
        raise InvalidInput(f"an agent's history is in one log; that of {agent_id} is in: {where}")
    return homes[0]


def _compare_head(claimed: HeadClaim | None, agent_id: str, home: str, named: list[bytes]) -> str:
    """Compare the head that the report claims with the leaf at that place; what was checked, as a sentence."""
    if claimed is None:
        return "the signed report names no leaf"
    index, sequence = claimed.leaf_index, claimed.sequence
    if claimed.log != home:
        raise InvalidInput(f"the signed report says that the history is in {claimed.log}")
    if not named:
        raise InvalidInput(
            f"the signed report names leaf {index}, which is not published: the log ends before it"
        )
    (entry,) = named
    leaf = parse_leaf(entry)
    if (leaf.agent_id, leaf.sequence, merkle.leaf_hash(entry).hex()) != (
        agent_id,
        sequence,
        claimed.leaf_hash,
    ):
        raise InvalidInput(f"leaf {index} is not the one that the signed report names")
    return f"the signed report agrees: it names leaf {sequence}"
