"""What frameworks have begun and not ended, by their own ids: bounded, since an end may never come."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

MAX_OPEN = 10_000

V = TypeVar("V")


class OpenRuns(Generic[V]):
    """A table that forgets the oldest entry when it is full. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: OrderedDict[Hashable, V] = OrderedDict()

    def put(self, key: Hashable, value: V) -> None:
        """Keep `value` until it is popped, or pushed out."""
        with self._lock:
            self._entries[key] = value
            if len(self._entries) > MAX_OPEN:
                self._entries.popitem(last=False)

    def get(self, key: Hashable) -> V | None:
        """The entry, if it is there."""
        with self._lock:
            return self._entries.get(key)

    def pop(self, key: Hashable) -> V | None:
        """Take the entry out, if it is there."""
        with self._lock:
            return self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)
