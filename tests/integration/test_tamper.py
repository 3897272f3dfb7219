"""The tamper suite: a real ledger, made by the pipeline, spoiled in every way; which verifier catches what.

`rows`: the operator's verifier on ClickHouse. `first`: a stranger on the published files, for the first time.
`again`: one that remembers what it saw earlier. `witness`: a first one that asks for a witness's cosignature.
The table in `docs/ledger.md` is made from the cases here, and compared with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger_sealer import rows, wiring
from ledger_sealer.published import PublishedSegment
from pactstream.clickhouse import migrate
from pactstream.clickhouse.verify import verify_ledger
from pactstream.ledger import merkle, note, segment, tiles
from pactstream.ledger.cosignature import Cosigner, Policy
from pactstream.ledger.leaf import parse_leaf
from pactstream.ledger.note import Checkpoint
from pactstream.ledger.published import LogVerification, Seen
from pactstream.ledger.witness import Request, Witness
from tests.published_ledger import Published, changed, fetch_from, relinked
from tests.sealer_stack import Flaky, Setup, build, database, running
from tests.sealer_tools import Evaluated, agent_id, event_id
from tests.stack import ClickHouseAddress, StackAddresses, eventually, fresh_prefix
from tests.witness_process import WitnessMemory, witness_thread

ORIGIN = "test.example/ledger/0"
CUTS = (15, 30, 45, 60)
SEEN = 45
TIMEOUT_SECONDS = 60
BUNDLE = "tile/entries/000.p/60"
TILE = "tile/0/000.p/60"
HEADERS = "segments/000.p/4"
WITNESS = Cosigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
GUIDE = Path(__file__).parents[2] / "docs" / "ledger.md"


@dataclass(frozen=True)
class Original:
    """What the pipeline made: the tables, the published files, the checkpoint at each size, and the witness."""

    setup: Setup
    files: dict[str, bytes]
    notes: dict[int, bytes]
    witness: Witness
    seen: Seen


@pytest.fixture(scope="module")
def original(stack: StackAddresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Original]:
    """Four segments of 15 leaves: batches of five, three agents in turn; remembered at 45 leaves."""
    directory = tmp_path_factory.mktemp("tamper")
    known: dict[str, list[note.NoteVerifier]] = {}
    witness = Witness(WITNESS, known, WitnessMemory())
    with ExitStack() as resources:
        url = resources.enter_context(witness_thread(witness))
        setup = resources.enter_context(
            build(
                stack.kafka_bootstrap,
                fresh_prefix(),
                resources.enter_context(database(stack.clickhouse)),
                directory / "keys",
                key_dir=directory / "keys",
                publish_interval_seconds=0,
                segment_max_leaves=15,
                segment_interval_seconds=5,
                witnesses=f"{url} {WITNESS.verifier.vkey()}",
            )
        )
        known[ORIGIN] = [setup.key.note_signer(ORIGIN).verifier]
        publisher = wiring.build_publisher(setup.settings, setup.key, setup.database, directory / "published")
        batches = Evaluated()
        notes: dict[int, bytes] = {}
        seen = None
        with running(setup.sealer(), setup.projector(), publisher.run):
            for size in CUTS:
                setup.write(batches.batches(3))
                setup.wait_for(size)
                path = directory / "published/ledger/0/checkpoint"
                notes[size] = eventually(partial(_at, path, size), TIMEOUT_SECONDS)
                if size == SEEN:
                    seen = _seen(_read(directory / "published/ledger/0"), setup)
        assert seen is not None
        yield Original(setup, _read(directory / "published/ledger/0"), notes, witness, seen)


def _at(path: Path, size: int) -> bytes:
    """The published checkpoint, once it is of that size."""
    data = path.read_bytes() if path.exists() else b""
    return data if f"\n{size}\n".encode() in data else b""


def _read(directory: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(directory)): path for path in directory.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(".")}


def _seen(files: dict[str, bytes], setup: Setup) -> Seen:
    result = LogVerification(ORIGIN, [setup.key.note_signer(ORIGIN).verifier], fetch_from(files)).run()
    assert result.checkpoint is not None
    assert (result.faults, result.checkpoint.size) == (0, SEEN)
    return Seen(result.checkpoint, result.heads)


@dataclass
class Ledger:
    """A copy of it, for one case to spoil."""

    original: Original
    copy: Callable[[], Setup]
    files: dict[str, bytes]

    @cached_property
    def setup(self) -> Setup:
        """Copies of the tables, made when a case first asks for them."""
        return self.copy()

    @property
    def entries(self) -> list[bytes]:
        """The leaves, as published."""
        return tiles.parse_bundle(self.original.files[BUNDLE], 60)

    def sql(self, statement: str) -> None:
        """What somebody with the database's password does."""
        self.setup.alter(statement)

    def sign_again(
        self, entries: Sequence[bytes], cuts: Sequence[int] = CUTS, *, skip_offsets: int = 0
    ) -> None:
        """What only the operator can do, everywhere: make these leaves the log, and ask the witness."""
        forged = Published(key=self.original.setup.key.note_signer(ORIGIN))
        ends = [*(cut for cut in cuts if cut < len(entries)), len(entries)]
        for first, end in zip([0, *ends], ends, strict=False):
            forged.publish(entries[first:end], skip_offsets=skip_offsets if first == cuts[0] else 0)
        self.files = {path.removeprefix(forged.prefix): data for path, data in forged.files.items()}
        self.files["checkpoint"] = self._cosigned(forged)
        self.sql("TRUNCATE TABLE room_events")
        self.sql("TRUNCATE TABLE room_event_payloads")  # who commits to others has others, or none
        self.sql("TRUNCATE TABLE ledger_segments")
        for header_bytes, signed, leaves in forged.sealed:
            header = segment.parse_header(header_bytes)
            made = rows.rows_of(
                PublishedSegment(header, header_bytes, signed, 1), [_event(one) for one in leaves]
            )
            for block in (made.events, made.segment):
                token = f"forged/{header.index}/{block.table}"
                self.setup.database.insert_encoded(block.table, block.columns, block.rows, token=token)

    def _cosigned(self, forged: Published) -> bytes:
        """The forged checkpoint with the witness's cosignature, if it gives one."""
        tree = merkle.MemoryTree(merkle.leaf_hash(one) for _, _, leaves in forged.sealed for one in leaves)
        size = min(CUTS[-1], len(tree))
        proof = merkle.consistency_proof(size, len(tree), tree.node)
        answer = self.original.witness.add_checkpoint(Request(CUTS[-1], tuple(proof), forged.note).encode())
        return forged.note + (answer.body if answer.status == 200 else b"")

    # The four verifiers: whether each finds a fault.

    def rows(self) -> bool:
        """The operator's own, on ClickHouse."""
        reports = verify_ledger(
            self.setup.database,
            deployment="test.example",
            keys=[self.setup.key.public],
            in_flight_seconds=0.1,
        )
        return any(report.faults for report in reports)

    def first(self) -> bool:
        """A stranger, for the first time."""
        return self._published()

    def again(self) -> bool:
        """One that verified when there were 45 leaves."""
        return self._published(seen=self.original.seen)

    def witness(self) -> bool:
        """One that comes for the first time and asks for the witness's word."""
        return self._published(policy=Policy((WITNESS.verifier,), 1))

    def _published(self, seen: Seen | None = None, policy: Policy | None = None) -> bool:
        verifiers = [self.original.setup.key.note_signer(ORIGIN).verifier]
        fetch = fetch_from(self.files)
        verification = LogVerification(ORIGIN, verifiers, fetch, policy=policy or Policy(), seen=seen)
        return bool(verification.run().faults)


def _event(entry: bytes) -> dict[str, object]:
    leaf = parse_leaf(entry)
    return {"event_id": leaf.event_id, "sequence": leaf.sequence, "leaf": entry, "private": None}


@pytest.fixture
def ledger(original: Original, request: pytest.FixtureRequest) -> Iterator[Ledger]:
    with ExitStack() as resources:

        def copy() -> Setup:
            address: ClickHouseAddress = request.getfixturevalue("clickhouse_database")
            source = original.setup.settings.clickhouse_database
            settings = original.setup.settings.model_copy(update={"clickhouse_database": address.database})
            migrate.apply(settings)
            tables = resources.enter_context(Flaky(settings))
            for table in ("room_events", "room_event_payloads", "ledger_segments"):
                names = {"to": table, "source": source}
                tables.command(
                    "INSERT INTO {to:Identifier} SELECT * FROM {source:Identifier}.{to:Identifier}", names
                )
            return replace(original.setup, settings=settings, database=tables)

        yield Ledger(original, copy, dict(original.files))


@dataclass(frozen=True)
class Case:
    """One way to tamper, and what each verifier makes of it; None where it cannot see it by its nature."""

    what: str
    spoil: Callable[[Ledger], None]
    rows: bool | None = None
    first: bool | None = None
    again: bool | None = None
    witness: bool | None = None

    def verdicts(self) -> dict[str, bool | None]:
        return {name: getattr(self, name) for name in ("rows", "first", "again", "witness")}


def in_database(what: str, *statements: str, rows: bool = True) -> Case:
    def spoil(ledger: Ledger) -> None:
        for statement in statements:
            ledger.sql(statement)

    return Case(what, spoil, rows=rows)


def in_files(what: str, path: str, edit: Callable[[list[bytes]], list[bytes]]) -> Case:
    """Somebody without the key edits a bundle or tile that is served."""

    def spoil(ledger: Ledger) -> None:
        kind = tiles.parse_path(path)
        if isinstance(kind.kind, int):
            ledger.files[path] = b"".join(edit(tiles.parse_tile(ledger.files[path], kind.width)))
        else:
            ledger.files[path] = tiles.encode_bundle(edit(tiles.parse_bundle(ledger.files[path], kind.width)))

    return Case(what, spoil, first=True, again=True, witness=True)


def signed_again(
    what: str, edit: Callable[[list[bytes]], list[bytes]], *, seen_at_once: bool, cuts: Sequence[int] = CUTS
) -> Case:
    """The operator edits the leaves and signs everything again."""

    def spoil(ledger: Ledger) -> None:
        entries = edit(ledger.entries)
        assert entries != ledger.entries or cuts != CUTS
        ledger.sign_again(entries, cuts)

    return Case(what, spoil, rows=seen_at_once, first=seen_at_once, again=True, witness=True)


def remove(entries: list[bytes]) -> list[bytes]:
    return [*entries[:22], *entries[23:]]


def add(entries: list[bytes]) -> list[bytes]:
    return [*entries[:23], changed(entries[22], eventId=event_id(9, 9)), *entries[23:]]


def change(entries: list[bytes]) -> list[bytes]:
    return [*entries[:22], changed(entries[22], tool="read_balance"), *entries[23:]]


def reorder(entries: list[bytes]) -> list[bytes]:
    return [*entries[:21], entries[22], entries[21], *entries[23:]]


def exchange(entries: list[bytes]) -> list[bytes]:
    """Two agents' batches in each other's place: all links of agents hold."""
    return [*entries[:15], *entries[20:25], *entries[15:20], *entries[25:]]


def truncate_agent(entries: list[bytes]) -> list[bytes]:
    """An agent's last eleven leaves are left out, as if it had stopped after its ninth."""
    return [one for one in entries if (leaf := parse_leaf(one)).agent_id != agent_id(1) or leaf.sequence <= 9]


def roll_back_files(ledger: Ledger) -> None:
    ledger.files["checkpoint"] = ledger.original.notes[30]


def roll_back(ledger: Ledger) -> None:
    roll_back_files(ledger)
    ledger.sql("ALTER TABLE room_events DELETE WHERE leaf_index >= 30")
    ledger.sql("ALTER TABLE ledger_segments DELETE WHERE first_leaf >= 30")
    ledger.sql("ALTER TABLE room_event_payloads DELETE WHERE leaf_index >= 30")


def mix(one: int, other: int) -> str:
    return f"leaf_index IN ({one}, {other})"


CHANGED = 'replaceOne(leaf, \'"outcome":"success"\', \'"outcome":"error"\')'
CASES = (
    in_database("*database:* an event removed", "ALTER TABLE room_events DELETE WHERE leaf_index = 22"),
    in_database(
        "*database:* an event added",
        f"INSERT INTO room_events SELECT * REPLACE (toUUID('{event_id(9, 9)}') AS event_id) FROM room_events "
        "WHERE leaf_index = 22",
    ),
    in_database(
        "*database:* an event changed, its hash and columns too",
        f"ALTER TABLE room_events UPDATE leaf = {CHANGED}, outcome = 'error', "
        f"leaf_hash = toFixedString(SHA256(concat('\\0', {CHANGED})), 32) WHERE leaf_index = 22",
    ),
    in_database(
        "*database:* events reordered",
        "CREATE TABLE swapped ENGINE = Memory AS SELECT * REPLACE (43 - leaf_index AS leaf_index) "
        f"FROM room_events WHERE {mix(21, 22)}",
        f"ALTER TABLE room_events DELETE WHERE {mix(21, 22)}",
        "INSERT INTO room_events SELECT * FROM swapped",
    ),
    in_database(
        "*database:* a column that queries read",
        "ALTER TABLE room_events UPDATE valid = true WHERE leaf_index = 24",
    ),
    in_database(
        "*database:* a private value",
        "ALTER TABLE room_event_payloads UPDATE value = '9' WHERE leaf_index = 24 AND field = 'params.amount'",
    ),
    in_database(
        "*database:* a private value erased, or as if it were",
        "ALTER TABLE room_event_payloads DELETE WHERE leaf_index = 24",
        rows=False,
    ),
    in_database(
        "*database:* the end of an agent's history cut off",
        f"ALTER TABLE room_events DELETE WHERE agent_id = toUUID('{agent_id(1)}') AND sequence > 9",
    ),
    in_database(
        "*database:* a segment taken out: a gap in the input",
        "ALTER TABLE ledger_segments DELETE WHERE segment_index = 1",
    ),
    in_database(
        "*database:* the end of the log cut off",
        "ALTER TABLE room_events DELETE WHERE leaf_index >= 30",
        "ALTER TABLE ledger_segments DELETE WHERE first_leaf >= 30",
        "ALTER TABLE room_event_payloads DELETE WHERE leaf_index >= 30",
        rows=False,
    ),
    in_files("*files:* an event removed", BUNDLE, lambda items: [*items[:22], *items[23:], items[0]]),
    in_files("*files:* an event added", BUNDLE, lambda items: [*items, items[22]]),
    in_files("*files:* an event changed", BUNDLE, change),
    in_files("*files:* events reordered", BUNDLE, reorder),
    in_files("*files:* a hash tile changed", TILE, lambda items: [*items[:22], bytes(32), *items[23:]]),
    in_files("*files:* a segment's header taken out", HEADERS, lambda items: [items[0], *items[2:], items[1]]),
    Case("*files:* an older checkpoint: a rollback", roll_back_files, first=False, again=True, witness=False),
    signed_again("*signed again:* an event removed", remove, seen_at_once=True),
    signed_again("*signed again:* an event added", add, seen_at_once=True),
    signed_again("*signed again:* an event changed", change, seen_at_once=True),
    signed_again("*signed again:* events reordered", reorder, seen_at_once=True),
    signed_again("*signed again:* batches of two agents exchanged", exchange, seen_at_once=True),
    Case(
        "*signed again:* a gap in the input: source records passed over",
        lambda ledger: ledger.sign_again(ledger.entries, skip_offsets=5),
        rows=True,
        first=True,
        again=True,
        witness=True,
    ),
    signed_again(
        "*signed again, links remade:* an event removed",
        lambda items: relinked(remove(items)),
        seen_at_once=False,
    ),
    signed_again(
        "*signed again, links remade:* an event added", lambda items: relinked(add(items)), seen_at_once=False
    ),
    signed_again(
        "*signed again, links remade:* a fork from the seen checkpoint: an event changed",
        lambda items: relinked(change(items)),
        seen_at_once=False,
    ),
    signed_again("*signed again:* the end of an agent's history cut off", truncate_agent, seen_at_once=False),
    signed_again(
        "*signed again:* the same leaves in other segments", list, cuts=(20, 30, 45), seen_at_once=False
    ),
    Case("*everywhere:* a rollback", roll_back, rows=False, first=False, again=True, witness=False),
)


def test_the_honest_ledger_passes_every_verifier(ledger: Ledger) -> None:
    assert (ledger.rows(), ledger.first(), ledger.again(), ledger.witness()) == (False,) * 4
    ledger.sign_again(ledger.entries)
    assert (ledger.rows(), ledger.first()) == (False, False), "signing again by itself leaves no trace"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what.replace("*", ""))
def test_who_catches_it(ledger: Ledger, case: Case) -> None:
    case.spoil(ledger)
    expected = {name: caught for name, caught in case.verdicts().items() if caught is not None}
    assert {name: getattr(ledger, name)() for name in expected} == expected


def table() -> str:
    """The table of the guide."""
    cells = {True: "yes", False: "**no**", None: "–"}
    lines = ["| what was done | rows | first | again | witness |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {case.what} | {' | '.join(cells[one] for one in case.verdicts().values())} |" for case in CASES
    ]
    return "\n".join(lines)


def test_the_guide_says_the_same() -> None:
    assert table() in GUIDE.read_text(), f"docs/ledger.md must have this table:\n\n{table()}\n"


def test_a_checkpoint_that_was_seen_is_in_the_cases(original: Original) -> None:
    assert [Checkpoint.parse(note.parse_note(one).text).size for one in original.notes.values()] == list(CUTS)
    assert all(len(note.parse_note(one).signatures) == 2 for one in original.notes.values()), "all cosigned"
