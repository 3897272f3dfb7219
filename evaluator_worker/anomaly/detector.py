"""One minute of one agent: what its windows say of its tenants. Pure: the same minutes give the same answers.

Order: scores against what is usual; evidence; a change of the agent; drift of tenants; the end of what is open;
learning. Windows stay out of baselines for two to three hours, and for good if their tenant is flagged
meanwhile; while it is, its baseline stands still.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from evaluator_worker.anomaly import baseline, evidence, features
from evaluator_worker.anomaly.baseline import Model, Scored, Sums
from evaluator_worker.anomaly.evidence import Cohort
from evaluator_worker.anomaly.found import AGENT_CHANGED, CLOSED, DRIFT, Found, Moved, anomaly_id
from evaluator_worker.anomaly.normal import Floats
from evaluator_worker.anomaly.state import State, Tenant

MAX_TENANTS: Final = 64
"""Of an agent; windows of further ones are passed over."""
CHOOSE_TOOLS_MINUTES: Final = 240
MAX_VOTES: Final = 64
LEAST_EFFECT: Final = 0.4
MAX_MOVED: Final = 5
SURE: Final = 4.0
"""A feature is named for so much evidence (a logarithm), or half of what the surest has."""
CHANGED_SHARE: Final = 2 / 3
"""So many of the tenants must have moved for it to be the agent that changed,"""
LOG_MOVED: Final = float(np.log(1_000))
"""each with so much evidence;"""
LOG_TOLD: Final = 0.0
"""and tenants are told that have any."""
_NOTHING: Final = 50.0
QUIET_MINUTES: Final = 120
LEAST_OPEN_MINUTES: Final = 30
ADOPT_MINUTES: Final = 7 * baseline.DAY_MINUTES
"""After so long, what was unusual is usual."""
CALM: Final = 0.4
RECENT: Final = 0.06
MAX_STATED: Final = 8

Windows = Mapping[str, Mapping[str, Any]]
"""Tenant to `BehaviourWindow`, all of one minute."""


def take(state: State, agent_id: str, minute: int, windows: Windows, level: float) -> list[Found]:
    """Take in one minute, later than all before; what is found, and what ended.

    `level`: of tenants flagged without cause, so many a month at most.
    """
    return _Minute(state, agent_id, minute, windows, level).found()


class _Minute:
    def __init__(self, state: State, agent_id: str, minute: int, windows: Windows, level: float) -> None:
        self._state = state
        self._agent_id = agent_id
        self._minute = minute
        self._windows = windows
        self._level = level

    def found(self) -> list[Found]:
        state = self._state
        self._admit()
        self._turn_hour()
        values = np.full((1, len(state.tenants), features.COUNT), np.nan)
        for n, tenant in enumerate(state.tenants):
            if (window := self._windows.get(tenant.tenant_id)) is not None:
                values[0, n] = features.row(window, state.tools)
                _note(tenant, self._minute, window)
        model = baseline.fit(state.sums, features.LIMITS)
        terms = baseline.design(np.array([self._minute]))
        before = state.before if self._minute == state.minute + 1 else np.zeros_like(state.before)
        scored = baseline.score(model, values, terms, before)
        present = ~np.isnan(values[0]).all(-1) * 1.0
        self._weigh(model, scored, present)
        expected = np.einsum("p,kfp->kf", terms[0], model.coefficients)
        sd = np.sqrt(np.maximum(state.sums.squares / np.maximum(state.sums.judged, 1), baseline.LEAST_SD**2))
        known = ~np.isnan(values[0]) & model.ready
        state.recent = np.where(
            known, (1 - RECENT) * state.recent + RECENT * scored.residuals[0] / sd, state.recent
        )
        found = self._settle() + self._end(sd) + self._search(model, expected, sd)
        self._learn(model, values, terms, scored, before)
        state.before, state.minute = scored.residuals[0], self._minute
        return found

    def _admit(self) -> None:
        """Make room for new tenants, and choose the tools when enough minutes have voted."""
        state = self._state
        known = {tenant.tenant_id: tenant for tenant in state.tenants}
        for tenant_id in sorted(self._windows.keys() - known.keys()):
            if len(state.tenants) < MAX_TENANTS:
                state.admit(tenant_id)
        if state.tools is None:
            self._vote()

    def _vote(self) -> None:
        """One vote a tenant and minute, shared by its tools."""
        state = self._state
        for _, window in sorted(self._windows.items()):
            for tool, count in sorted(window["calls_by_tool"].items()):
                if tool in state.votes or len(state.votes) < MAX_VOTES:
                    state.votes[tool] = state.votes.get(tool, 0.0) + count / window["tool_calls"]
        state.votes[""] = state.votes.get("", 0.0) + bool(self._windows)
        if state.votes[""] >= CHOOSE_TOOLS_MINUTES:
            del state.votes[""]
            ranked = sorted(state.votes, key=lambda tool: (-state.votes[tool], tool))
            state.tools, state.votes = ranked[: features.TOOLS], {}

    def _turn_hour(self) -> None:
        state = self._state
        if self._minute // baseline.BLOCK_MINUTES == state.minute // baseline.BLOCK_MINUTES:
            return
        oldest = state.blocks.pop(0)
        state.sums.add(oldest, baseline.DECAY)
        state.blocks.append(Sums.empty((), len(state.tenants), features.COUNT))

    def _weigh(self, model: Model, scored: Scored, present: Floats) -> None:
        """Add the minute to the evidence; tenants and features that are too new say nothing."""
        state = self._state
        scores = np.where(model.ready, scored.scores[0], 0)
        cohort = Cohort(state.movement)
        departed = cohort.departures(scores)
        state.movement = cohort.movement
        says = present * model.ready.any(-1)
        residuals = np.where(model.ready, scored.residuals[0], 0)
        state.evidence.add(self._minute, says, scores, departed, residuals)

    def _search(self, model: Model, expected: Floats, sd: Floats) -> list[Found]:
        """A change of the agent, or else drift of tenants."""
        state = self._state
        watched = self._mask(lambda one: one.open is None and not one.quiet_until)
        watched &= model.ready.any(-1)
        looked_at = watched & state.evidence.worth_a_look()
        if not looked_at.any():
            return []
        count = int(model.ready.any(-1).sum())
        own, lesser = (np.full((len(state.evidence.starts), len(state.tenants)), -np.inf) for _ in range(2))
        own[:, looked_at], lesser[:, looked_at] = state.evidence.log_values(looked_at)
        limit = evidence.threshold(count, self._level)
        moved = looked_at & (_log_sum(own) > LOG_MOVED)
        mean = np.exp(np.minimum(_log_sum(own)[watched], 600)).mean()
        if moved.sum() >= max(CHANGED_SHARE * watched.sum(), min(count, 2)) and mean >= limit:
            return self._changed(watched, own, float(mean), expected, sd)
        if count < 3:
            return []  # fewer than two others cannot tell a tenant from the agent
        strength = np.exp(np.minimum(_log_sum(lesser), 600))
        flagged = evidence.e_bh(strength, limit)
        found = []
        for n in map(int, np.flatnonzero(flagged)):
            start = int(lesser[:, n].argmax())
            features_moved = self._moved(n, start, expected, sd, both=True)
            if features_moved:
                found.append(self._open(n, DRIFT, start, float(strength[n]), features_moved))
                self._forget(_only(n, len(state.tenants)))
        return found

    def _changed(
        self, watched: Floats, own: Floats, strength: float, expected: Floats, sd: Floats
    ) -> list[Found]:
        """The agent is another: tenants are told of their own figures, and all learn their new level."""
        state = self._state
        # One start for all: the one for which most speaks.
        start = int(np.maximum(own, -_NOTHING)[:, watched].sum(1).argmax())
        windows = np.maximum(state.evidence.windows[start], 1)[:, None]
        steps = np.where(watched[:, None], state.evidence.residuals[start] / windows, 0)
        found = []
        for n in map(int, np.flatnonzero(watched & (_log_sum(own) > LOG_TOLD))):
            features_moved = self._moved(n, start, expected, sd, both=False)
            if features_moved:
                found.append(self._open(n, AGENT_CHANGED, start, strength, features_moved))
        self._relearn(watched, steps)
        return found

    def _moved(self, n: int, start: int, expected: Floats, sd: Floats, *, both: bool) -> tuple[Moved, ...]:
        """The features of tenant `n` that moved since a start, the surest first."""
        state = self._state
        windows = state.evidence.windows[start, n]
        sums = (state.evidence.own, state.evidence.departed) if both else (state.evidence.own,)
        bets = np.min([evidence.log_bets(one[start, n], np.asarray(windows)) for one in sums], 0)
        step = state.evidence.residuals[start, n] / max(windows, 1)
        effect = step / sd[n]
        named = features.names(state.tools or [])
        chosen = [int(f) for f in np.argsort(-bets, kind="stable")[:MAX_MOVED]]
        surest = bets[chosen[0]]
        return tuple(
            Moved(
                named[f],
                "up" if effect[f] > 0 else "down",
                features.readable(named[f], float(expected[n, f] + step[f])),
                features.readable(named[f], float(expected[n, f])),
                round(float(effect[f]), 3),
            )
            for f in chosen
            if abs(effect[f]) >= LEAST_EFFECT and bets[f] > min(SURE, surest / 2)
        )

    def _open(self, n: int, kind: str, start: int, strength: float, moved: tuple[Moved, ...]) -> Found:
        tenant, since = self._state.tenants[n], self._state.evidence.starts[start]
        found = Found(
            anomaly_id=anomaly_id(self._agent_id, kind, tenant.tenant_id, self._minute),
            tenant_id=tenant.tenant_id,
            kind=kind,
            since=since,
            minute=self._minute,
            evidence=strength,
            features=moved,
            attribution=_attribution(tenant, since),
        )
        tenant.open = found
        return found

    def _settle(self) -> list[Found]:
        """The level that was learned in the quiet time is the new one."""
        state = self._state
        due = self._mask(lambda one: 0 < one.quiet_until <= self._minute)
        if not due.any():
            return []
        begun = self._minute - QUIET_MINUTES
        first = next((n for n, start in enumerate(state.evidence.starts) if start > begun), -1)
        windows = np.maximum(state.evidence.windows[first], 1)[:, None]
        self._level_by(due, state.evidence.residuals[first] / windows)
        ended = []
        for n in np.flatnonzero(due):
            state.tenants[n].quiet_until = 0
            if (closed := self._close(int(n))) is not None:
                ended.append(closed)
        return ended

    def _end(self, sd: Floats) -> list[Found]:
        """Drifts that are over, and those that have lasted so long that they are what is usual now."""
        state = self._state
        ended = []
        for n, tenant in enumerate(state.tenants):
            drift = tenant.open
            if drift is None or drift.kind != DRIFT:
                continue
            if self._minute - drift.minute >= ADOPT_MINUTES:
                only = _only(n, len(state.tenants))
                self._relearn(only, np.where(only[:, None], state.recent * sd, 0))
            elif self._minute - drift.minute < LEAST_OPEN_MINUTES or not self._is_calm(n, drift):
                continue
            state.evidence.reset(_only(n, len(state.tenants)))
            if (closed := self._close(n)) is not None:
                ended.append(closed)
        return ended

    def _is_calm(self, n: int, drift: Found) -> bool:
        named = features.names(self._state.tools or [])
        places = {name: place for place, name in enumerate(named)}
        return all(
            abs(self._state.recent[n, places[one.feature]]) < CALM * abs(one.effect)
            for one in drift.features
            if one.feature in places
        )

    def _close(self, n: int) -> Found | None:
        tenant = self._state.tenants[n]
        found, tenant.open = tenant.open, None
        if found is None:
            return None
        fields = {name: getattr(found, name) for name in found.__struct_fields__}
        return Found(**fields | {"status": CLOSED, "version": found.version + 1})

    def _relearn(self, tenants: Floats, steps: Floats) -> None:
        """Take a new level, say nothing for a while, and then correct it."""
        self._forget(tenants)
        self._level_by(tenants, steps)
        for n in np.flatnonzero(tenants):
            self._state.tenants[n].quiet_until = self._minute + QUIET_MINUTES

    def _level_by(self, tenants: Floats, steps: Floats) -> None:
        baseline.shift(self._state.sums, tenants, steps)
        self._state.evidence.reset(tenants)
        self._state.recent[tenants] = 0

    def _forget(self, tenants: Floats) -> None:
        """Windows that were not admitted to the baseline yet never will be."""
        for block in self._state.blocks:
            block.drop(tenants)

    def _learn(self, model: Model, values: Floats, terms: Floats, scored: Scored, before: Floats) -> None:
        sums = baseline.collect(model, values, terms, scored, before)
        sums.drop(self._mask(lambda one: one.open is not None and one.open.kind == DRIFT))
        self._state.blocks[-1].add(sums)

    def _mask(self, which: Any) -> Floats:
        return np.array([which(one) for one in self._state.tenants], bool)


def _log_sum(logs: Floats) -> Floats:
    """The logarithm of the sum over starts; -inf for none."""
    return np.asarray(np.logaddexp.reduce(logs, 0, initial=-np.inf))


def _only(n: int, count: int) -> Floats:
    return np.asarray(np.arange(count) == n)


def _note(tenant: Tenant, minute: int, window: Mapping[str, Any]) -> None:
    """Remember versions that the tenant's own metadata name, when they change."""
    tenant.last_seen = minute
    said = (window["model_version"], window["prompt_version"])
    if any(said) and (not tenant.stated or tenant.stated[-1][1:] != said):
        tenant.stated = [*tenant.stated, (minute, *said)][-MAX_STATED:]


def _attribution(tenant: Tenant, since: int) -> dict[str, str]:
    """The versions that came with the change; the first that a tenant ever names came with nothing."""
    for (_, *old), (minute, *new) in zip(tenant.stated, tenant.stated[1:], strict=False):
        if minute >= since - 3 * evidence.EVERY_MINUTES:
            names = ("model_version", "prompt_version")
            return {name: b for name, a, b in zip(names, old, new, strict=True) if b and a != b}
    return {}
