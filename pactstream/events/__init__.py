"""The four behavioural events: their wire form, what the edge accepts, and their Avro form."""

from pactstream.events.model import Event, Response, SessionEnd, SessionStart, ToolCall

__all__ = ["Event", "Response", "SessionEnd", "SessionStart", "ToolCall"]
