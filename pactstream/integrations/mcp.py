"""MCP, the agent's side: calls of remote tools are recorded, and asked about before they are sent.

Works with `mcp` 2 (`Client` and `ClientSession`) and with `ClientSession` of `mcp` 1. Nothing of `mcp` is
imported: the session that is handed over is all that is needed.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from pactstream.sdk import Call, Telemetry

_MARK = "_pactstream_telemetry"
_logger = logging.getLogger("pactstream.sdk")


class CallsTools(Protocol):
    """What is asked of a session: `mcp.ClientSession`, `mcp.Client`, and whatever is shaped like them."""

    @property
    def call_tool(self) -> Callable[..., Awaitable[Any]]:
        """Send `tools/call`."""


S = TypeVar("S", bound=CallsTools)


def instrument_session(tel: Telemetry, session: S, *, server: str | None = None) -> S:
    """Record every `call_tool` of this session, and ask before it where `block_on` is set.

    The session is changed and returned; to do it twice changes nothing. A result that is marked as an error is
    one, though nothing was raised. `server` goes into the events' metadata as `mcp_server`.

    A call then raises `PactViolation` or `PreflightUnavailable` where `block_on` says so, and is not sent.
    """
    if getattr(session, _MARK, None) is tel:
        return session
    send = session.call_tool
    metadata = None if server is None else {"mcp_server": server}

    async def call_tool(name: str, arguments: dict[str, Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        async with tel.open_call(tool=name, params=arguments or {}, metadata=metadata) as call:
            result = await send(name, arguments, *args, **kwargs)
            _judge(call, result)
            return result

    # Whoever is to call tools may hold this very object already, so it is changed, not wrapped.
    object.__setattr__(session, "call_tool", call_tool)
    object.__setattr__(session, _MARK, tel)
    return session


def _judge(call: Call, result: object) -> None:
    """End `call` where its result is not a success; never raises."""
    try:
        if hasattr(result, "input_requests"):
            # The server wants to know more first. The call is sent again with the answers, and recorded then.
            call.abandon()
        elif getattr(result, "is_error", False) or getattr(result, "isError", False):
            call.end(outcome="error", error_message=_text(getattr(result, "content", ())))
    except Exception:
        _logger.debug("a tool's result could not be looked at", exc_info=True)


def _text(content: Sequence[object]) -> str:
    return "\n".join(str(getattr(block, "text", "")) for block in content) or "the server says: an error"
