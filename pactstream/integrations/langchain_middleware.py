"""LangChain agents: middleware that asks before a tool is called, and does not call what the pact forbids."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import ToolMessage
from langgraph.types import Command

from pactstream.integrations.langchain import CHECKED, PactstreamHandler, Run, end_call
from pactstream.sdk import Call, PactViolation, PreflightUnavailable, Telemetry

if TYPE_CHECKING:
    # Where it stands has changed between releases.
    from langgraph.prebuilt.tool_node import ToolCallRequest

Result = ToolMessage | Command[Any]


class PactMiddleware(AgentMiddleware):
    """For `create_agent(..., middleware=[PactMiddleware(tel)])`; put it last, next to the tools.

    In a graph of your own, give a `ToolNode` its `wrap_tool_call` and `awrap_tool_call`. It asks where `tel`
    has `block_on`. A call that is refused is not made: by default the model is told why and goes on
    (`on_refusal="tell"`), with "raise" the run ends with `PactViolation` or `PreflightUnavailable`. Every call
    is recorded, once, with a `PactstreamHandler` or without.
    """

    def __init__(self, tel: Telemetry, *, on_refusal: Literal["tell", "raise"] = "tell") -> None:
        super().__init__()
        self._tel = tel
        self._raises = on_refusal == "raise"

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Result]) -> Result:
        """One call, in a thread."""
        call = self._open(request)
        try:
            call.check()
        except (PactViolation, PreflightUnavailable) as refusal:
            return self._refused(request, refusal)
        with _made(call):
            result = handler(request)
        end_call(call, result)
        return result

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Result]]
    ) -> Result:
        """One call, in a task."""
        call = self._open(request)
        try:
            await call.acheck()
        except (PactViolation, PreflightUnavailable) as refusal:
            return self._refused(request, refusal)
        with _made(call):
            result = await handler(request)
        end_call(call, result)
        return result

    def _open(self, request: ToolCallRequest) -> Call:
        run = self._run(request)
        return self._tel.open_call(
            tool=request.tool_call["name"],
            params=request.tool_call["args"],
            session=run.session,
            parent_event_id=run.parent_event_id,
        )

    def _run(self, request: ToolCallRequest) -> Run:
        """What the call belongs to, which a handler knows, if there is one."""
        config = getattr(request.runtime, "config", None) or {}
        callbacks = config.get("callbacks")
        for one in getattr(callbacks, "handlers", ()):
            if isinstance(one, PactstreamHandler) and one.tel is self._tel:
                return one.run(getattr(callbacks, "parent_run_id", None))
        return Run(self._tel.current_session())

    def _refused(self, request: ToolCallRequest, refusal: PactViolation | PreflightUnavailable) -> ToolMessage:
        if self._raises:
            raise refusal
        told = request.tool_call
        return ToolMessage(str(refusal), tool_call_id=told["id"], name=told["name"], status="error")


@contextmanager
def _made(call: Call) -> Iterator[None]:
    """The call is made in here: a handler that hears of it leaves it to us, and what is thrown ends it."""
    token = CHECKED.set([call])
    try:
        yield
    except BaseException as error:
        end_call(call, None, error)
        raise
    finally:
        CHECKED.reset(token)
