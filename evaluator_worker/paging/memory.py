"""What paging remembers of one agent in one tenant: its latest calls, its sessions, its pages."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any, Final

from evaluator_worker.paging.calls import Event, shown_call, values_of
from pactstream import avro
from pactstream.paging.records import Page, decode_page, dumps, loads

CALLS: Final = 10
MAX_SESSIONS: Final = 200
MAX_OPEN_PAGES: Final = 50
"""Beyond so many, further kinds of violations count up a page that stands for the rest of them."""
MAX_HISTORY: Final = 50
MORE: Final = "more"

_Raw = tuple[Event, bytes | None]


@dataclass(slots=True)
class AgentMemory:
    """State; `pages` by id, closed ones included until they are swept."""

    calls: deque[_Raw | dict[str, Any]] = field(default_factory=lambda: deque(maxlen=CALLS))  # newest first
    sessions: dict[str, None] = field(default_factory=dict)
    pages: dict[str, Page] = field(default_factory=dict)
    changed: dict[str, None] = field(default_factory=dict)  # ids of pages
    touched_at_micros: int = 0

    def encode(self) -> bytes:
        """Its Avro record, without the pages."""
        record = {
            "calls": dumps(self.shown_calls()),
            "sessions": list(self.sessions),
            "touched_at_micros": self.touched_at_micros,
        }
        return avro.encode("PagingState", record)

    def shown_calls(self) -> list[dict[str, Any]]:
        """The latest calls. They are made readable only when somebody looks: most are never looked at."""
        for index, one in enumerate(self.calls):
            if not isinstance(one, dict):
                event, private = one
                self.calls[index] = shown_call(event, values_of(private))
        return [one for one in self.calls if isinstance(one, dict)]

    def began(self, session_id: str) -> None:
        """A session is in flight."""
        self.sessions.pop(session_id, None)
        self.sessions[session_id] = None
        while len(self.sessions) > MAX_SESSIONS:
            del self.sessions[next(iter(self.sessions))]

    def open_page(self, pact_id: str, rule: str, place: str) -> Page | None:
        """The page that is open about this rule, if one is."""
        for page in self.pages.values():
            if page.status == "closed" or page.pact_id != pact_id:
                continue
            if page.rule == rule and place_of(page.rule, page.param_path) == place:
                return page
        return None

    def open_count(self) -> int:
        """How many pages are open."""
        return sum(page.status != "closed" for page in self.pages.values())

    def put(self, page: Page) -> None:
        """A page in the place of its former self."""
        self.pages[page.page_id] = page
        self.changed[page.page_id] = None

    def forget_values(self, session_id: str, event_id: str | None) -> None:
        """Erase private values: all, those of a session, or those of one event."""
        for call in self.shown_calls():
            if _covers(call, session_id, event_id):
                call["params"] = None
        for page in list(self.pages.values()):
            self.put(_without_values(page, session_id, event_id))


def restored(value: bytes) -> AgentMemory:
    """Memory from its record. Raises `InvalidInput`."""
    record = avro.decode_as("PagingState", value)
    memory = AgentMemory(touched_at_micros=record["touched_at_micros"])
    memory.calls.extend(loads(record["calls"]))
    memory.sessions = dict.fromkeys(record["sessions"])
    return memory


def restored_page(value: bytes) -> Page:
    """A page from its record. Raises `InvalidInput`."""
    found = decode_page(value)
    if not isinstance(found, Page):
        raise TypeError("paging.state holds pages")
    return found


def place_of(rule: str, param_path: str) -> str:
    """Where a rule was violated, without what an agent can choose at will: indices, and names nobody knows."""
    if rule == "unknownParams":
        return ""
    at, parts = 0, []
    while (start := param_path.find("[", at)) >= 0 and (end := param_path.find("]", start)) >= 0:
        inside = param_path[start + 1 : end]
        parts.append(param_path[at:start] + (f"[{'*' if inside.isdigit() else inside}]"))
        at = end + 1
    return "".join(parts) + param_path[at:]


def told(page: Page, *, at: str, by: str, action: str, reason: str | None, at_micros: int) -> Page:
    """The page with one more line in its history."""
    line = {"at": at, "by": by, "action": action, "reason": reason or ""}
    history = [*loads(page.history), line][-MAX_HISTORY:]
    return replace(page, history=dumps(history), updated_at_micros=at_micros)


def _covers(call: dict[str, Any], session_id: str, event_id: str | None) -> bool:
    if event_id is not None:
        return bool(call["eventId"] == event_id)
    return not session_id or bool(call["sessionId"] == session_id)


def _without_values(page: Page, session_id: str, event_id: str | None) -> Page:
    calls = [
        call | {"params": None} if _covers(call, session_id, event_id) else call
        for call in loads(page.recent_calls)
    ]
    page = replace(page, recent_calls=dumps(calls))
    if not _covers({"eventId": page.event_id, "sessionId": page.session_id}, session_id, event_id):
        return page
    violations = [
        one | {"value": None, "message": f"{one['paramPath'] or 'The call'} breaks {one['rule']}."}
        for one in loads(page.violations)
    ]
    return replace(page, violations=dumps(violations))
