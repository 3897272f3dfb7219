"""The published ledger: publishing, verifying all, proving one event. `python -m tests.bench.bench_ledger`.

`--leaves 1000000` for the promised size; by default fewer, so that it is over soon. Figures are of one process.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pactstream.ledger import merkle, segment
from pactstream.ledger.leaf import GENESIS, AgentHead, Source, build_leaf
from pactstream.ledger.log_keys import LogKey
from pactstream.ledger.note import Checkpoint, NoteSigner, parse_note
from pactstream.ledger.pins import PinBook
from pactstream.ledger.publisher import LogPublisher, Sealed
from pactstream.ledger.tile_reader import TileReader
from pactstream.ledger.tile_store import TileDirectory
from pactstream.ledger.verification import Verification, source
from tests.bench.figures import report
from tests.sealer_tools import event

SIGNER = NoteSigner("bench.example/ledger/0", Ed25519PrivateKey.from_private_bytes(bytes(32)))
SEGMENT_LEAVES = 4_096
AGENTS = 100
PROOFS = 1_000
TESSERA = "Tessera on NVMe: 10,000/s on seven cores"
TESSERA_A_CORE = 10_000 / 7


def segments(leaves: int) -> Iterator[Sealed]:
    """The log as the sealer would hand it over; made before, so that its cost is in no figure."""
    tree, end = merkle.Frontier(), segment.CHAIN_START
    heads: dict[int, AgentHead] = {}
    for first in range(0, leaves, SEGMENT_LEAVES):
        entries = [_leaf(number, heads) for number in range(first, min(leaves, first + SEGMENT_LEAVES))]
        for entry in entries:
            tree.append(merkle.leaf_hash(entry))
        sealed = segment.seal(
            end,
            origin=SIGNER.name,
            leaves=len(entries),
            root=tree.root(),
            topic="telemetry.evaluated",
            partition=0,
            next_offset=end.next_offset + len(entries),
            sealed_at_micros=1_778_666_402_000_000,
            signers=[SIGNER],
        )
        end = sealed.chain_end
        yield Sealed(sealed.header_bytes, sealed.note, entries)


def _leaf(number: int, heads: dict[int, AgentHead]) -> bytes:
    agent = number % AGENTS
    said: dict[str, Any] = event(f"018f0000-0000-7000-8000-{number:012}", number // AGENTS * 4)
    built = build_leaf(
        said,
        None,
        agent_id=f"0196c9a4-0000-7000-8000-{agent:012}",
        tenant="t_5f0c9a1b2c3d4e5f",
        received_at="2026-05-13T10:00:01.000000Z",
        source=Source(0, number, 0, "telemetry.batches"),
        head=heads.get(agent, GENESIS),
    )
    heads[agent] = built.head
    return built.leaf


def publish(leaves: int, directory: Path) -> None:
    """Publish segment by segment, a checkpoint each, onto the disk."""
    publisher = LogPublisher(SIGNER.name, lambda: [SIGNER.verifier], TileDirectory(directory / "ledger/0"))
    wall = cpu = 0.0
    published = 0
    shown = 10_000
    for sealed in segments(leaves):
        began, used = time.perf_counter(), time.process_time()
        publisher.publish([sealed])
        wall += time.perf_counter() - began
        cpu += time.process_time() - used
        published += len(sealed.entries)
        if published >= shown or published == leaves:
            rate = published / cpu
            name = f"publishing, up to {published:,} leaves"
            figure = f"{rate:,.0f} leaves/CPU-s, {published / wall:,.0f}/s"
            report(name, figure, TESSERA, rate / TESSERA_A_CORE)
            shown *= 10
    (directory / "ledger/keys").write_text(f"{LogKey(SIGNER.verifier).line()}\n")


def verify(leaves: int, directory: Path) -> None:
    """Everything, from the files: hashes, links, roots, signature."""
    with tempfile.TemporaryDirectory() as state:
        began, used = time.perf_counter(), time.process_time()
        (result,) = Verification(str(directory), source(str(directory)), PinBook(Path(state))).run()
        seconds, used = time.perf_counter() - began, time.process_time() - used
    if (result.faults, result.leaves) != (0, leaves):
        raise SystemExit(f"not in order: {result.findings[:3]}")
    million = seconds * 1_000_000 / leaves
    report(
        f"full verification of {leaves:,} leaves",
        f"{seconds:.1f} s, {used:.1f} s of CPU",
        "",
        60 / million,
        f"1,000,000 in under 60 s; at this rate {million:.0f} s",
    )


def prove(leaves: int, directory: Path) -> None:
    """One event at random: its audit path and its leaf, from files, the newest tree's edge known or not."""
    store = TileDirectory(directory / "ledger/0")
    tree = Checkpoint.parse(parse_note(store.fetch("checkpoint")).text)
    kept = TileReader(store.fetch, tree.size, tree.root)
    for name, fresh in (("the edge read before", False), ("nothing read before", True)):
        times, used = [], 0.0
        for _ in range(PROOFS):
            index = random.randrange(leaves)
            began, cpu = time.perf_counter(), time.process_time()
            reader = TileReader(store.fetch, tree.size, tree.root) if fresh else kept
            path = reader.inclusion_proof(index)
            times.append(time.perf_counter() - began)
            used += time.process_time() - cpu
            merkle.verify_inclusion(merkle.leaf_hash(reader.entry(index)), index, tree.size, path, tree.root)
        times.sort()
        p50, p99 = (times[int(PROOFS * part)] * 1_000 for part in (0.5, 0.99))
        report(
            f"inclusion proof of {leaves:,}, {name}",
            f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, CPU {used / PROOFS * 1_000:.2f} ms",
            "",
            2 / p50,
            "under 2 ms",
        )


def main() -> None:
    """Publish, verify, prove."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--leaves", type=int, default=100_000)
    leaves = parser.parse_args().leaves
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        publish(leaves, directory)
        verify(leaves, directory)
        prove(leaves, directory)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    report("memory at most, all of the above", f"{peak} MiB")


if __name__ == "__main__":
    main()
