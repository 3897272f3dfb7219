"""Reading a request's body: so many bytes, in so much time, as one typed JSON value."""

from __future__ import annotations

from typing import TypeVar

import anyio
import msgspec
from fastapi import Request
from starlette.requests import ClientDisconnect

from pactstream.errors import InvalidInput
from pactstream.web import Refused

MAX_BYTES = 65_536
_SECONDS = 10.0
_T = TypeVar("_T")


async def read_json(request: Request, kind: type[_T], max_bytes: int = MAX_BYTES) -> _T:
    """The body as a `kind`.

    Raises:
        Refused: 413 it is longer than `max_bytes` (64 KiB), 408 it did not come in ten seconds.
        InvalidInput: it is not JSON of this kind.
    """
    body = bytearray()
    try:
        with anyio.fail_after(_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > max_bytes:
                    raise Refused(413, f"a body has at most {max_bytes} bytes", headers={"Connection": "close"})
    except TimeoutError:
        raise Refused(
            408, f"the body did not come within {_SECONDS:g} s", headers={"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise Refused(400, "the body was cut off") from None
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the body is not valid: {error}") from error
