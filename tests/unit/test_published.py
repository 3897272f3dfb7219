"""The tamper suite on published files: for each way to tamper, which verifier catches it, and what it names.

`FIRST`: a verifier that sees the log for the first time. `PINNED`: one that remembers an earlier checkpoint and
the agents' heads. Where only `PINNED` finds something, a witness's quorum protects a first-time verifier: the
last tests show it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream.errors import Fatal
from pactstream.ledger import merkle, tiles
from pactstream.ledger.audit import Fault
from pactstream.ledger.cosignature import Cosigner, Policy
from pactstream.ledger.leaf import AgentHead, parse_leaf
from pactstream.ledger.note import Checkpoint, NoteSigner, sign_checkpoint
from pactstream.ledger.published import MAX_FINDINGS, LogVerification, Result, Seen
from pactstream.ledger.tile_reader import TileReader
from pactstream.ledger.witness import Request, Witness
from tests.published_ledger import AGENTS, Published, changed, leaves, published, relinked

COUNT, CUTS = 700, (100, 300, 610)
LEAVES = leaves(COUNT)
ORIGIN = "dev/ledger/0"
BUNDLE = "ledger/0/tile/entries/000"


def honest() -> Published:
    return published(LEAVES, CUTS)


def verify(log: Published, *, seen: Seen | None = None, since: Seen | None = None) -> Result:
    return LogVerification(ORIGIN, [log.signer.verifier], log.log_fetch, seen=seen, since=since).run()


def remembered(count: int = 610) -> Seen:
    """What a verifier remembers that verified the first `count` leaves."""
    log = published(LEAVES[:count], CUTS)
    result = verify(log)
    assert result.faults == 0
    return Seen(log.checkpoint, result.heads)


PIN = remembered()


def faults(result: Result) -> list[tuple[Fault, int | None]]:
    return [(one.fault, one.leaf_index) for one in result.findings]


def test_an_honest_log_passes() -> None:
    progress: list[tuple[int, int]] = []
    log = honest()
    done = LogVerification(
        ORIGIN, [log.signer.verifier], log.log_fetch, on_progress=lambda *now: progress.append(now)
    ).run()
    assert (done.faults, done.leaves, done.segments, done.offsets_without_leaves) == (0, 700, 4, 0)
    assert done.checkpoint == log.checkpoint
    assert done.note == log.note
    assert progress == [(256, 700), (512, 700), (700, 700)]
    last = parse_leaf(LEAVES[-1])
    assert done.heads is not None
    assert done.heads[last.agent_id] == AgentHead(last.sequence, merkle.leaf_hash(LEAVES[-1]))
    assert verify(log, seen=PIN).faults == 0
    assert verify(log, seen=Seen(log.checkpoint, done.heads)).faults == 0


def test_a_log_without_a_checkpoint_is_empty_unless_it_was_seen() -> None:
    empty = Published()
    assert verify(empty).faults == 0
    assert verify(empty).checkpoint is None
    assert faults(verify(empty, seen=PIN)) == [(Fault.REMOVED, None)]


# --- at the served files, without the key: every verifier catches it ---

Damage = Callable[[dict[str, bytes]], None]


def rebundled(edit: Callable[[list[bytes]], list[bytes]]) -> Damage:
    def damage(files: dict[str, bytes]) -> None:
        files[BUNDLE] = tiles.encode_bundle(edit(tiles.parse_bundle(files[BUNDLE], 256)))

    return damage


def damage_leaf_and_tile(files: dict[str, bytes]) -> None:
    forged = changed(LEAVES[7], tool="other")
    rebundled(lambda items: [*items[:7], forged, *items[8:]])(files)
    tile = files["ledger/0/tile/0/000"]
    files["ledger/0/tile/0/000"] = tile[: 7 * 32] + merkle.leaf_hash(forged) + tile[8 * 32 :]


def replace_in(path: str, old: bytes, new: bytes) -> Damage:
    def damage(files: dict[str, bytes]) -> None:
        assert old in files[path]
        files[path] = files[path].replace(old, new, 1)

    return damage


@pytest.mark.parametrize(
    ("damage", "fault", "leaf", "message"),
    [
        pytest.param(
            rebundled(lambda items: [*items[:7], changed(items[7], tool="other"), *items[8:]]),
            Fault.CHANGED,
            7,
            "does not have its hash",
            id="a leaf changed",
        ),
        pytest.param(
            damage_leaf_and_tile,
            Fault.CHANGED,
            0,
            "tile/0/000 does not lead to the root",
            id="a leaf and its tile changed",
        ),
        pytest.param(
            rebundled(lambda items: [*items[:7], *items[8:]]),
            Fault.CHANGED,
            0,
            "the bundle ends in item 255",
            id="a leaf removed",
        ),
        pytest.param(
            rebundled(lambda items: [*items[:7], items[7], *items[7:255]]),
            Fault.CHANGED,
            8,
            "does not have its hash",
            id="a leaf added, the last dropped",
        ),
        pytest.param(
            lambda files: files.update({BUNDLE: files[BUNDLE] + b"\0\0"}),
            Fault.CHANGED,
            0,
            "2 bytes after its 256 items",
            id="a leaf appended",
        ),
        pytest.param(
            rebundled(lambda items: [*items[:7], items[8], items[7], *items[9:]]),
            Fault.CHANGED,
            7,
            "does not have its hash",
            id="leaves reordered",
        ),
        pytest.param(
            lambda files: files.pop("ledger/0/tile/entries/001"),
            Fault.CHANGED,
            256,
            "tile/entries/001 is missing",
            id="a bundle removed",
        ),
        pytest.param(
            lambda files: files.pop("ledger/0/tile/0/001"),
            Fault.CHANGED,
            256,
            "tile/0/001 is missing",
            id="a tile removed",
        ),
        pytest.param(
            lambda files: files.pop("ledger/0/tile/1/000.p/2"),
            Fault.REMOVED,
            None,
            "is missing",
            id="the edge removed",
        ),
        pytest.param(
            lambda files: files.pop("ledger/0/segments/000.p/4"),
            Fault.REMOVED,
            None,
            "is missing",
            id="the segments removed",
        ),
        pytest.param(
            replace_in("ledger/0/segments/000.p/4", b'"sealedAt":"2026', b'"sealedAt":"2025'),
            Fault.CHANGED,
            None,
            "does not continue the chain",
            id="a segment changed",
        ),
        pytest.param(
            replace_in("ledger/0/checkpoint", b"700", b"701"),
            Fault.SIGNATURE,
            None,
            "is bad",
            id="the checkpoint changed",
        ),
        pytest.param(
            lambda files: files.update({"ledger/0/checkpoint": b"no note"}),
            Fault.SIGNATURE,
            None,
            "a note ends in",
            id="the checkpoint replaced",
        ),
    ],
)
def test_files_changed_by_others(damage: Damage, fault: Fault, leaf: int | None, message: str) -> None:
    log = honest()
    damage(log.files)
    result = verify(log)
    assert faults(result)[0] == (fault, leaf), result.findings
    assert message in result.findings[0].message


def test_a_checkpoint_by_another_key_is_refused() -> None:
    log = honest()
    stranger = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"s" * 32))
    log.files["ledger/0/checkpoint"] = sign_checkpoint(log.checkpoint, [stranger])
    assert faults(verify(log)) == [(Fault.SIGNATURE, None)]


def test_a_checkpoint_without_a_segment_is_refused() -> None:
    log = honest()
    plain = Checkpoint(ORIGIN, 700, log.checkpoint.root)
    log.files["ledger/0/checkpoint"] = sign_checkpoint(plain, [log.signer])
    assert faults(verify(log)) == [(Fault.CHANGED, None)]


# --- an operator who signs again: the agents' chains catch it ---


def insert_forged(entries: list[bytes]) -> list[bytes]:
    forged = changed(entries[6], eventId="018f0000-0000-7000-8000-00000000ffff")
    return [*entries[:7], forged, *entries[7:]]


@pytest.mark.parametrize(
    ("tamper", "fault", "leaf"),
    [
        pytest.param(
            lambda entries: [*entries[:7], *entries[8:]],
            Fault.REMOVED,
            9,
            id="a leaf removed: its agent's next",
        ),
        pytest.param(insert_forged, Fault.ADDED, 7, id="a leaf added"),
        pytest.param(
            lambda entries: [*entries[:7], changed(entries[7], tool="other"), *entries[8:]],
            Fault.CHANGED,
            7,
            id="a leaf changed",
        ),
        pytest.param(
            lambda entries: [*entries[:7], entries[10], *entries[8:10], entries[7], *entries[11:]],
            Fault.REMOVED,
            7,
            id="an agent's leaves reordered",
        ),
        pytest.param(
            lambda entries: [*entries[:7], entries[8], entries[7], *entries[9:]],
            Fault.REORDERED,
            8,
            id="two agents' leaves reordered",
        ),
    ],
)
def test_an_operator_who_signs_again_is_caught_at_first_sight(
    tamper: Callable[[list[bytes]], list[bytes]], fault: Fault, leaf: int
) -> None:
    result = verify(published(tamper(LEAVES), CUTS))
    assert faults(result)[0] == (fault, leaf), result.findings


def test_a_gap_in_the_input_is_caught_at_first_sight() -> None:
    log = Published()
    log.publish(LEAVES[:300]).publish(LEAVES[300:500], skip_offsets=5).publish(LEAVES[500:])
    (finding,) = verify(log).findings
    assert (finding.fault, finding.segment) == (Fault.GAP, 1)


def test_a_suppressed_record_is_only_counted() -> None:
    """It looks like a dead letter: the offset has no leaf. Nobody can tell, and the documentation says so."""
    entries = relinked([*LEAVES[:7], *LEAVES[8:]])
    result = verify(published(entries, CUTS))
    assert (result.faults, result.offsets_without_leaves) == (0, 1)


# --- an operator who signs again, thoroughly: only a remembered checkpoint or a witness catches it ---


def truncate_an_agent(entries: list[bytes]) -> list[bytes]:
    """Drop the last sixty leaves of one agent, as if it had stopped earlier."""
    mine = [index for index, entry in enumerate(entries) if AGENTS[1].encode() in entry]
    dropped = set(mine[-60:])
    return [entry for index, entry in enumerate(entries) if index not in dropped]


def rewrite(entries: list[bytes]) -> list[bytes]:
    return relinked([*entries[:100], changed(entries[100], tool="other"), *entries[101:]])


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(rewrite, id="a leaf changed and all links remade"),
        pytest.param(
            lambda entries: relinked([*entries[:7], *entries[8:]]), id="a leaf removed and all links remade"
        ),
        pytest.param(truncate_an_agent, id="an agent's history truncated"),
    ],
)
def test_a_thorough_rewrite_is_caught_by_who_remembers(tamper: Callable[[list[bytes]], list[bytes]]) -> None:
    log = published(tamper(LEAVES), CUTS)
    assert verify(log).faults == 0, "a first-time verifier cannot know"
    first, *others = verify(log, seen=PIN).findings
    assert first.fault is Fault.FORKED
    assert "first 610 leaves are not those last seen" in first.message
    assert any("agent" in one.message for one in others), "whose remembered head is gone"
    assert faults(verify(log, since=PIN)) == [(Fault.FORKED, None)]


def test_a_truncated_agent_is_named() -> None:
    log = published(truncate_an_agent(LEAVES), CUTS)
    named = [one.message for one in verify(log, seen=PIN).findings if one.fault is Fault.REMOVED]
    assert named == [f"agent {AGENTS[1]} had 203 leaves when last seen, and has 173"]


def test_a_rollback_is_caught_by_who_remembers() -> None:
    log = published(LEAVES[:300], CUTS)
    assert verify(log).faults == 0, "a first-time verifier cannot know"
    for seen, since in ((PIN, None), (None, PIN), (PIN, PIN)):
        (finding,) = verify(log, seen=seen, since=since).findings
        assert finding.fault is Fault.REMOVED
        assert finding.message == "rolled back: it had 610 leaves when last seen, and has 300"


def test_other_segments_over_the_same_leaves_are_a_fork() -> None:
    """The tree is the same; the source ranges and times that were signed are not."""
    log = published(LEAVES, (100, 310, 610))
    assert verify(log).faults == 0
    (finding,) = verify(log, seen=remembered(300)).findings
    assert (finding.fault, finding.segment) == (Fault.FORKED, 1)
    other = published(LEAVES, (50,))
    assert {one.fault for one in verify(other, seen=Seen(honest().checkpoint)).findings} == {Fault.FORKED}
    assert {one.fault for one in verify(other, since=Seen(honest().checkpoint)).findings} == {Fault.FORKED}


# --- incremental verification ---


def test_only_what_came_after_is_read() -> None:
    log = honest()
    for path in [
        path for path in log.files if path.startswith("ledger/0/tile/entries/00") and "002" not in path
    ]:
        del log.files[path]
    result = verify(log, since=PIN)
    assert (result.faults, result.leaves, result.segments, result.unlinked_agents) == (0, 90, 1, 0)
    assert result.heads == verify(honest()).heads


@pytest.mark.parametrize(("since", "first"), [(None, 0), (PIN, 610)])
def test_whoever_asks_is_handed_each_leaf(since: Seen | None, first: int) -> None:
    log, handed = honest(), list[tuple[int, bytes]]()
    LogVerification(
        ORIGIN,
        [log.signer.verifier],
        log.log_fetch,
        since=since,
        on_leaf=lambda index, entry: handed.append((index, entry)),
    ).run()
    assert handed == list(enumerate(LEAVES))[first:]


def test_agents_heads_link_across_the_start() -> None:
    """A leaf removed after the start is found, and one just at the start only with the agents' heads."""
    late = published([*LEAVES[:650], *LEAVES[651:]], CUTS)
    assert faults(verify(late, since=PIN))[0][0] is Fault.REMOVED
    at_start = published([*LEAVES[:610], *LEAVES[611:]], CUTS)
    assert faults(verify(at_start, since=PIN))[0][0] is Fault.REMOVED
    unlinked = verify(at_start, since=Seen(PIN.checkpoint))
    assert (unlinked.faults, unlinked.unlinked_agents) == (0, 3)


def test_heads_are_known_again_where_both_checkpoints_are() -> None:
    plain = Seen(remembered(300).checkpoint)
    assert verify(honest(), since=plain).heads is None
    assert verify(honest(), since=plain, seen=Seen(PIN.checkpoint)).heads is None
    assert verify(honest(), since=plain, seen=PIN).heads == verify(honest()).heads
    assert verify(honest(), since=Seen(honest().checkpoint), seen=PIN).heads is None


def test_nothing_new_is_in_order() -> None:
    log = honest()
    result = verify(log, since=Seen(log.checkpoint, verify(log).heads))
    assert (result.faults, result.leaves) == (0, 0)


def test_a_start_that_the_log_does_not_have() -> None:
    log = honest()
    log.files["ledger/0/segments/000.p/3"] = log.files["ledger/0/segments/000.p/4"]
    assert faults(verify(log, since=PIN)) == [(Fault.CHANGED, None)]
    log.files["ledger/0/segments/000.p/3"] = tiles.encode_bundle([b"a", b"b", b"c"])
    (finding,) = verify(log, since=PIN).findings
    assert finding.message == "segment 2 is not the one last seen"
    assert verify(honest(), since=Seen(Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT))).leaves == 700


def test_findings_are_kept_up_to_a_bound() -> None:
    result = Result(ORIGIN)
    (finding,) = verify(published(LEAVES[:300], CUTS), seen=PIN).findings
    for _ in range(MAX_FINDINGS + 5):
        result.add(finding)
    assert (result.faults, len(result.findings)) == (MAX_FINDINGS + 5, MAX_FINDINGS)


def test_a_source_that_fails_says_nothing_about_the_log() -> None:
    log = honest()

    def fetch(path: str) -> bytes:
        if "entries" in path:
            raise Fatal("no route")
        return log.log_fetch(path)

    with pytest.raises(Fatal, match="no route"):
        LogVerification(ORIGIN, [log.signer.verifier], fetch).run()


# --- witnesses ---


def test_a_witness_protects_who_comes_for_the_first_time() -> None:
    """The operator shows the witness the truth, and a rewritten log to a newcomer who asks for its quorum."""
    truth = honest()
    cosigner = Cosigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
    store: dict[str, bytes] = {}

    class Memory:
        get = staticmethod(store.get)
        put = staticmethod(store.__setitem__)

    witness = Witness(cosigner, {ORIGIN: [truth.signer.verifier]}, Memory())
    line = witness.add_checkpoint(Request(0, (), truth.note).encode()).body
    policy = Policy((cosigner.verifier,), 1)

    def newcomer(log: Published) -> Result:
        return LogVerification(ORIGIN, [log.signer.verifier], log.log_fetch, policy).run()

    truth.files["ledger/0/checkpoint"] = truth.note + line
    accepted = newcomer(truth)
    assert (accepted.faults, list(accepted.cosigned_at)) == (0, ["witness.example/w"])

    forged = published(rewrite([*LEAVES, *leaves(10, COUNT)]), CUTS)
    reader = TileReader(forged.log_fetch, forged.checkpoint.size, forged.checkpoint.root)
    request = Request(700, tuple(reader.consistency_proof(700)), forged.note)
    assert witness.add_checkpoint(request.encode()).status == 422
    assert faults(newcomer(forged)) == [(Fault.SIGNATURE, None)]
    forged.files["ledger/0/checkpoint"] = forged.note + line
    assert faults(newcomer(forged)) == [(Fault.SIGNATURE, None)]
