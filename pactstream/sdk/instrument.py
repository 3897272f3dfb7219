"""`Telemetry.instrument_tool`: every call of a function becomes a `tool_call` event."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from types import CoroutineType
from typing import Any, Literal
from uuid import UUID

import msgspec

from pactstream import clock, ids
from pactstream.events.model import ToolCall, ToolName
from pactstream.sdk.errors import PactViolation, PreflightUnavailable
from pactstream.sdk.plain import Snapshot, snapshot
from pactstream.sdk.recorder import CURRENT_CALL, Recorder, Scope, moment
from pactstream.sdk.session import describe

_logger = logging.getLogger("pactstream.sdk")


class Binder:
    """Arguments by parameter name, defaults included, from a signature that is looked at once.

    `**kwargs` count by their own names, `*args` as a list under its name, a method's `self` and everything in
    `exclude` not at all. Arguments that do not fit the signature are kept too: the call itself will complain.
    """

    def __init__(self, function: Callable[..., Any], exclude: Collection[str]) -> None:
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (ValueError, TypeError):
            # Some built-in functions have none; their positional arguments are called args.
            parameters = []
        positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self._positional = tuple(positional)
        self._positional_only = frozenset(p.name for p in parameters if p.kind is p.POSITIONAL_ONLY)
        self._rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "args")
        self._defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        self._check_exclude(parameters, exclude)
        self._hidden = frozenset(exclude) | {name for name in positional[:1] if name in ("self", "cls")}

    @staticmethod
    def _check_exclude(parameters: Collection[inspect.Parameter], exclude: Collection[str]) -> None:
        if isinstance(exclude, str):
            raise TypeError("exclude must be several names, not one text")
        unknown = set(exclude) - {p.name for p in parameters}
        takes_any = not parameters or any(p.kind is p.VAR_KEYWORD for p in parameters)
        if unknown and not takes_any:
            # A mistyped name would send the very secret that it was to keep back.
            raise ValueError(f"exclude names no parameter: {', '.join(sorted(unknown))}")

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of one call; never raises."""
        bound = {**self._defaults, **dict(zip(self._positional, args, strict=False))}
        surplus = args[len(self._positional) :]
        if surplus:
            bound[self._rest] = surplus
        if self._positional_only and not self._positional_only.isdisjoint(kwargs):
            # def f(a, /, **more) may be given another a; neither hides the other.
            bound["kwargs"] = kwargs
        elif kwargs:
            bound.update(kwargs)
        for name in self._hidden:
            bound.pop(name, None)
        return bound


class Tool:
    """One instrumented function."""

    def __init__(
        self,
        recorder: Recorder,
        function: Callable[..., Any],
        *,
        name: str | None,
        exclude: Collection[str],
        pact_id: UUID | None,
        metadata: Mapping[str, object] | None,
    ) -> None:
        self.recorder = recorder
        self.name = _checked_name(_name_of(function) if name is None else name)
        self.pact_id = pact_id
        self.metadata = recorder.metadata(metadata)
        self.inexact_metadata = recorder.metadata(metadata, exact=False)
        self._bind = Binder(function, exclude).bind

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        """Take a snapshot of the arguments, which the tool may change; None if that is impossible.

        Raises:
            PreflightUnavailable: it is impossible, and the call would have had to be judged.
        """
        try:
            scope = self.recorder.scope()
            return Call(self, scope, self.pact_id or scope.pact_id, snapshot(self._bind(args, kwargs)))
        except Exception as error:
            # Next to no stack left, no entropy: rare, and no reason for the agent to fail.
            _logger.debug("a tool call cannot be recorded", exc_info=True)
            self.recorder.invalid(f"call of {self.name}", error)
            config = self.recorder.config
            if config.block_on is not None and config.preflight_unavailable == "block":
                raise PreflightUnavailable(f"the call of {self.name} cannot be described") from error
            return None


class Call:
    """One call of an instrumented function, from its arguments to the record of its outcome."""

    __slots__ = (
        "_attempted_micros",
        "_event_id",
        "_outer",
        "_pact_id",
        "_params",
        "_reservation_id",
        "_scope",
        "_since",
        "_tool",
    )

    def __init__(self, tool: Tool, scope: Scope, pact_id: UUID | None, params: Snapshot) -> None:
        self._tool = tool
        self._scope = scope
        self._pact_id = pact_id
        self._params = params
        self._event_id = ids.uuid7()
        self._reservation_id = ids.uuid7() if tool.recorder.config.reserve else None
        self._attempted_micros = clock.now_micros()
        self._since: float | None = None
        self._outer: UUID | None = None

    def needs_preflight(self) -> bool:
        """Whether a verdict must be had before the call."""
        blocks = self._tool.recorder.config.block_on is not None
        return blocks and (self._pact_id is not None or self._scope.pact_fault is not None)

    def check(self) -> None:
        """The pre-flight; blocks until the answer.

        Raises:
            PactViolation: the pact forbids the call.
            PreflightUnavailable: nobody can say.
        """
        self._tool.recorder.preflight.check(
            pact=self._pact_id or self._scope.pact_fault or "",
            agent_id=self._scope.agent_id,
            session_id=self._scope.session_id,
            tool=self._tool.name,
            params=self._params,
            reservation_id=self._reservation_id,
        )
        # What is held is held for a call from now on.
        self._attempted_micros = clock.now_micros()

    def give_back(self) -> None:
        """The call is not made: let go of what may be held for it."""
        if self._reservation_id is not None:
            self._tool.recorder.preflight.give_back(self._scope.agent_id, self._reservation_id)

    def start(self) -> None:
        """The function is called now; what it records meanwhile has this call as its parent."""
        self._outer = CURRENT_CALL.get()
        CURRENT_CALL.set(self._event_id)
        self._since = clock.monotonic_seconds()

    def leave(self) -> None:
        """What is recorded from now on no longer belongs to this call."""
        CURRENT_CALL.set(self._outer)

    def end(self, error: BaseException | None) -> None:
        """Record the outcome: it returned, or raised `error`, or was denied before it started."""
        latency_ms = None
        if self._since is not None:
            latency_ms = round((clock.monotonic_seconds() - self._since) * 1_000, 3)
            self.leave()
        else:
            self._outer = CURRENT_CALL.get()
        try:
            self._record(error, latency_ms)
        except Exception as fault:
            # For instance an exception whose text cannot be had.
            _logger.debug("a tool call cannot be recorded", exc_info=True)
            self._tool.recorder.invalid(f"call of {self._tool.name}", fault)

    def _record(self, error: BaseException | None, latency_ms: float | None) -> None:
        tool, scope, params = self._tool, self._scope, self._params
        outcome: Literal["success", "error", "denied"] = "success"
        if error is not None:
            outcome = "denied" if isinstance(error, PactViolation | PreflightUnavailable) else "error"
        event = ToolCall(
            session_id=scope.session_id,
            agent_id=scope.agent_id,
            event_id=self._event_id,
            parent_event_id=self._outer,
            room_id=scope.room_id,
            pact_id=self._pact_id,
            metadata=tool.metadata if params.exact else tool.inexact_metadata,
            tool=tool.name,
            params=msgspec.Raw(params.encoded),
            outcome=outcome,
            attempted_at=moment(self._attempted_micros),
            latency_ms=latency_ms,
            error_message=None if error is None else describe(error),
            reservation_id=self._reservation_id if self.needs_preflight() else None,
        )
        tool.recorder.commit(event, check=False)


def instrumented(tool: Tool, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` wrapped so that each call is recorded; its result or exception passes unchanged.

    Raises:
        TypeError: generator functions, and bare `staticmethod` and `classmethod` objects, cannot be wrapped.
    """
    if isinstance(function, staticmethod | classmethod):
        raise TypeError("put instrument_tool below @staticmethod or @classmethod, next to the function")
    if not callable(function):
        raise TypeError(f"a tool must be callable, not {type(function).__name__}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{tool.name} is a generator function: its work is spread over many steps, so no one outcome and "
            "latency belong to the call; instrument the function that consumes it, or call tel.tool_call"
        )
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__
    )
    return _async_wrapper(tool, function) if is_async else _sync_wrapper(tool, function)


def _sync_wrapper(tool: Tool, function: Callable[..., Any]) -> Callable[..., Any]:
    begin = tool.begin

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = begin(args, kwargs)
        if call is None:
            return function(*args, **kwargs)
        if call.needs_preflight():
            try:
                call.check()
            except BaseException as denial:
                call.give_back()
                if isinstance(denial, PactViolation | PreflightUnavailable):
                    call.end(denial)
                raise
        call.start()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            call.end(error)
            raise
        if type(result) is CoroutineType:
            # A coroutine function in disguise (a partial, a plain decorator): the work is still to come.
            call.leave()
            return _awaited(call, lambda: result)
        call.end(None)
        return result

    return wrapper


def _async_wrapper(tool: Tool, function: Callable[..., Any]) -> Callable[..., Any]:
    begin = tool.begin

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = begin(args, kwargs)
        if call is None:
            return await function(*args, **kwargs)
        if call.needs_preflight():
            try:
                await asyncio.to_thread(call.check)
            except BaseException as denial:
                call.give_back()
                if isinstance(denial, PactViolation | PreflightUnavailable):
                    call.end(denial)
                raise
        return await _awaited(call, functools.partial(function, *args, **kwargs))

    return wrapper


async def _awaited(call: Call, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    call.start()
    try:
        result = await work()
    except BaseException as error:
        call.end(error)
        raise
    call.end(None)
    return result


def _checked_name(name: str) -> str:
    try:
        checked = msgspec.convert(name, ToolName)
        checked.encode()
        return checked
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise ValueError(f"{name[:200]!r} cannot be the name of a tool: {error}") from None


def _name_of(function: Callable[..., Any]) -> str:
    inner = function.func if isinstance(function, functools.partial) else function
    return getattr(inner, "__name__", None) or type(inner).__name__
