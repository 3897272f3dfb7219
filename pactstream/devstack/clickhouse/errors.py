"""The error that becomes a ClickHouse exception reply."""

from __future__ import annotations

import re

_CODE = re.compile(r"Code: (\d+)\. DB::")


class Refused(Exception):
    """The engine, or the interface in front of it, refuses a request; `code` is ClickHouse's error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @classmethod
    def by_interface(cls, code: int, name: str, message: str) -> Refused:
        """A refusal of our own in the shape of ClickHouse's, which clients take apart."""
        return cls(code, f"Code: {code}. DB::Exception: {message}. ({name})")

    @classmethod
    def by_engine(cls, message: str) -> Refused:
        """The engine's own words, without what its Python wrapper puts before them; code 0 if it gave none."""
        found = _CODE.search(message)
        if found is None:
            return cls(0, message.strip())
        return cls(int(found[1]), message[found.start() :].strip())
