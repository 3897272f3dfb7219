"""A model's HTTP interface of the tests' own: OpenAI's two, with answers that a test wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from uuid import uuid4

from tests import http_servers

Step = str | list[tuple[str, dict[str, Any]]]
"""What the model says: a text, or the tools that it asks for."""
Script = Callable[[], Iterator[Step]]


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """The base URL of a model that follows `script`, one step for each request."""
    steps, lock = script(), Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                step = next(steps, "The script is over.")
            shape = _response if self.path.endswith("/responses") else _completion
            body = json.dumps(shape(step, asked["model"])).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with http_servers.serving(server) as address:
        yield f"{address}/v1"


def _completion(step: Step, model: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": step if isinstance(step, str) else None}
    if not isinstance(step, str):
        message["tool_calls"] = [
            {
                "id": f"call-{uuid4()}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(args)},
            }
            for name, args in step
        ]
    return {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def _response(step: Step, model: str) -> dict[str, Any]:
    output: list[dict[str, Any]]
    if isinstance(step, str):
        content = [{"type": "output_text", "text": step, "annotations": []}]
        output = [
            {"id": "m-1", "type": "message", "role": "assistant", "status": "completed", "content": content}
        ]
    else:
        output = [
            {
                "type": "function_call",
                "id": f"f-{uuid4()}",
                "call_id": f"call-{uuid4()}",
                "name": name,
                "arguments": json.dumps(args),
            }
            for name, args in step
        ]
    return {
        "id": "r-1",
        "object": "response",
        "created_at": 1,
        "model": model,
        "status": "completed",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 10,
            "output_tokens": 5,
            "total_tokens": 15,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }
