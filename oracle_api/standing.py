"""Whether an agent is in service, as its tenants say: from the compacted topic `tenants`, read only.

An agent may be registered by several tenants. The report says the worst of what they say, and never whose word
it is. When the topic could not be confirmed for `_UNKNOWN_AFTER_SECONDS`, every standing is "unknown": a pause
may have been missed.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from threading import Event, Thread
from typing import Final, Literal, Protocol, TypeAlias
from uuid import UUID

from pactstream import clock
from pactstream.control.tenants import AgentStatus, TenantDirectory
from pactstream.errors import Fatal, Retryable

Standing: TypeAlias = Literal["active", "paused", "revoked", "unregistered", "unknown"]

WORST_FIRST: Final[tuple[AgentStatus, ...]] = ("revoked", "paused", "active")
"""Of several tenants' words, the first of these that any of them says."""

_CONFIRM_SECONDS = 2.0
_CONFIRM_TIMEOUT_SECONDS = 5.0
_UNKNOWN_AFTER_SECONDS = 30.0
_log = logging.getLogger(__name__)


def worst(said: Collection[str]) -> Standing:
    """The standing of an agent of which tenants say this."""
    if not said:
        return "unregistered"
    return next((one for one in WORST_FIRST if one in said), "unknown")


class Standings(Protocol):
    """Where standings come from; asked on every request, so it must not wait for anything."""

    def of(self, agent_id: UUID) -> Standing:
        """The agent's standing now."""

    @property
    def ready(self) -> bool:
        """Whether standings are known."""


class TenantStandings:
    """Standings from the tenants' directory; a thread confirms now and then that it is current."""

    def __init__(self, directory: TenantDirectory) -> None:
        self._directory = directory
        self._confirmed_at: float | None = None
        self._stop = Event()
        self._thread = Thread(target=self._confirm, name="standings", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether the directory was read to its end a short while ago."""
        at = self._confirmed_at
        return at is not None and clock.monotonic_seconds() - at <= _UNKNOWN_AFTER_SECONDS

    def of(self, agent_id: UUID) -> Standing:
        """The worst that any tenant says of the agent; "unregistered" if none knows it."""
        if not self.ready:
            return "unknown"
        agent = str(agent_id)
        return worst({tenant.agents[agent].status for tenant in self._directory.tenants_of(agent)})

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        self._thread.join()
        self._directory.close()

    def _confirm(self) -> None:
        while not self._stop.is_set():
            try:
                self._directory.table.catch_up(_CONFIRM_TIMEOUT_SECONDS)
                self._confirmed_at = clock.monotonic_seconds()
            except (Retryable, Fatal) as error:
                _log.warning("the agents' standing is not confirmed: %s", error)
            self._stop.wait(_CONFIRM_SECONDS)
