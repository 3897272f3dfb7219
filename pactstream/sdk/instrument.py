"""`Telemetry.instrument_tool`: every call of a function becomes a `tool_call` event."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from types import CoroutineType
from typing import Any
from uuid import UUID

import msgspec

from pactstream.events.model import ToolName
from pactstream.sdk.call import Call
from pactstream.sdk.errors import PreflightUnavailable
from pactstream.sdk.plain import snapshot
from pactstream.sdk.recorder import Recorder

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
            params = snapshot(self._bind(args, kwargs))
            metadata = self.metadata if params.exact else self.inexact_metadata
            return Call(self.recorder, self.name, scope, self.pact_id or scope.pact_id, params, metadata)
        except Exception as error:
            # Next to no stack left, no entropy: rare, and no reason for the agent to fail.
            _logger.debug("a tool call cannot be recorded", exc_info=True)
            self.recorder.invalid(f"call of {self.name}", error)
            config = self.recorder.config
            if config.block_on is not None and config.preflight_unavailable == "block":
                raise PreflightUnavailable(f"the call of {self.name} cannot be described") from error
            return None


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
        call.check()
        call.start()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            call.leave()
            call.end(error)
            raise
        call.leave()
        if type(result) is CoroutineType:
            # A coroutine function in disguise (a partial, a plain decorator): the work is still to come.
            return _awaited(call, lambda: result)
        call.end()
        return result

    return wrapper


def _async_wrapper(tool: Tool, function: Callable[..., Any]) -> Callable[..., Any]:
    begin = tool.begin

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = begin(args, kwargs)
        if call is None:
            return await function(*args, **kwargs)
        await call.acheck()
        return await _awaited(call, functools.partial(function, *args, **kwargs))

    return wrapper


async def _awaited(call: Call, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    call.start()
    try:
        result = await work()
    except BaseException as error:
        call.leave()
        call.end(error)
        raise
    call.leave()
    call.end()
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
