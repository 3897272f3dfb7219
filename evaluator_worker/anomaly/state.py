"""What a detector remembers of one agent, and its form in the changelog."""

from __future__ import annotations

import zlib
from dataclasses import fields
from typing import Any, Final

import msgspec
import numpy as np

from evaluator_worker.anomaly import features
from evaluator_worker.anomaly.baseline import Sums
from evaluator_worker.anomaly.evidence import Evidence
from evaluator_worker.anomaly.found import Found
from evaluator_worker.anomaly.normal import Floats

PENDING_BLOCKS: Final = 2
_NUMBERS: Final = np.dtype("<f4")


class Tenant(msgspec.Struct):
    """Of one tenant. `quiet_until`: its new level is being learned; `stated`: versions and when they came."""

    tenant_id: str
    last_seen: int = 0
    quiet_until: int = 0
    open: Found | None = None
    stated: list[tuple[int, str, str]] = []


class _Packed(msgspec.Struct):
    minute: int
    tenants: list[Tenant]
    tools: list[str] | None
    votes: dict[str, float]
    starts: list[int]
    arrays: list[bytes]


class State:
    """Arrays have the axes (tenant, feature, ...), evidence (start, tenant, feature)."""

    def __init__(self) -> None:
        self.minute = 0
        self.tenants: list[Tenant] = []
        self.tools: list[str] | None = None
        self.votes: dict[str, float] = {}
        self.sums = Sums.empty((), 0, features.COUNT)
        self.blocks = [Sums.empty((), 0, features.COUNT) for _ in range(PENDING_BLOCKS + 1)]
        self.evidence = Evidence.empty((), 0, features.COUNT)
        self.before = np.zeros((0, features.COUNT))  # residuals of the minute before
        self.movement = np.zeros((0, features.COUNT))  # of the others, see `evidence.Cohort`
        self.recent = np.zeros((0, features.COUNT))  # residuals of the last minutes, in standard deviations

    def admit(self, tenant_id: str) -> None:
        """Make room for one more tenant."""
        self.tenants.append(Tenant(tenant_id))
        for sums in (self.sums, *self.blocks):
            _widen(sums, 0)
        _widen(self.evidence, 1)
        for name in ("before", "movement", "recent"):
            setattr(self, name, np.concatenate([getattr(self, name), np.zeros((1, features.COUNT))]))

    def encode(self) -> bytes:
        """As `decode` reads it: numbers in single precision, compressed (they repeat much)."""
        arrays = [np.asarray(one, _NUMBERS).tobytes() for one in self._arrays()]
        packed = _Packed(self.minute, self.tenants, self.tools, self.votes, self.evidence.starts, arrays)
        return zlib.compress(msgspec.msgpack.encode(packed), 1)

    @classmethod
    def decode(cls, data: bytes) -> State:
        """What `encode` wrote; nothing known for no bytes."""
        state = cls()
        if not data:
            return state
        packed = msgspec.msgpack.decode(zlib.decompress(data), type=_Packed)
        for tenant in packed.tenants:
            state.admit(tenant.tenant_id)
        state.minute, state.tenants = packed.minute, packed.tenants
        state.tools, state.votes = packed.tools, packed.votes
        state.evidence.widen_starts(packed.starts)
        for target, raw in zip(state._arrays(), packed.arrays, strict=True):
            target[...] = np.frombuffer(raw, _NUMBERS).reshape(target.shape)
        return state

    def _arrays(self) -> list[Floats]:
        held: list[Any] = [self.before, self.movement, self.recent]
        for sums in (self.sums, *self.blocks):
            held += [getattr(sums, field.name) for field in fields(sums)]
        return held + self.evidence.arrays()


def _widen(holder: Sums | Evidence, axis: int) -> None:
    """One more tenant, of whom nothing is known."""
    for field in fields(holder):
        old: Any = getattr(holder, field.name)
        if isinstance(old, np.ndarray):
            room = np.zeros((*old.shape[:axis], 1, *old.shape[axis + 1 :]))
            setattr(holder, field.name, np.concatenate([old, room], axis))
