"""`/docs`: the OpenAPI document as a page of plain HTML, without scripts or anything from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, Response

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2126}
h2{margin-top:2.5rem;border-bottom:1px solid #d5dae0}
details{border:1px solid #d5dae0;border-radius:6px;margin:.5rem 0;padding:.5rem .75rem}
summary{cursor:pointer}summary code{font-weight:600}
.method{display:inline-block;min-width:4rem;font:600 .8rem ui-monospace,monospace;color:#0b5cad}
pre{background:#f4f6f8;padding:.75rem;border-radius:6px;overflow-x:auto;font-size:.85rem}
code{font-family:ui-monospace,monospace}
@media(prefers-color-scheme:dark){body{background:#14181c;color:#dde3e9}pre{background:#1d2329}
details,h2{border-color:#343c44}.method{color:#6db3f2}}
"""


def router(document: Callable[[], dict[str, Any]]) -> APIRouter:
    """The page of this OpenAPI document."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/docs")
    def docs() -> Response:
        return Response(
            "".join(_page(document())), media_type="text/html", headers={"Content-Security-Policy": _POLICY}
        )

    return routes


def _page(document: dict[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
    yield f"<h1>{escape(info['title'])}</h1><p>{escape(info['summary'])}</p>"
    yield '<p>For tools: <a href="/openapi.json">openapi.json</a>.</p>'
    tag = ""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                yield f"<h2>{escape(tag)}</h2>"
            yield from _operation(method, path, operation)
    schemas = document.get("components", {}).get("schemas", {})
    if schemas:
        yield "<h2>Schemas</h2>"
    for name, schema in schemas.items():
        yield f"<details><summary><code>{escape(name)}</code></summary>{_json(schema)}</details>"
    yield "</html>"


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f'<details><summary><span class="method">{escape(method.upper())}</span> <code>{escape(path)}</code> '
    yield f"{escape(operation['summary'])}</summary><p>{escape(operation.get('description', ''))}</p>"
    for one in operation.get("parameters", ()):
        yield f"<p><code>{escape(one['name'])}</code> ({one['in']}) {escape(one.get('description', ''))}</p>"
    if "requestBody" in operation:
        yield "<h4>Request</h4>" + "".join(_content(operation["requestBody"]))
    for status, answer in operation["responses"].items():
        yield f"<h4>{escape(status)} {escape(answer['description'])}</h4>" + "".join(_content(answer))
    yield "</details>"


def _content(described: dict[str, Any]) -> Iterator[str]:
    for media in described.get("content", {}).values():
        if shown := media.get("example", media.get("schema")):
            yield _json(shown)


def _json(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return f"<pre>{escape(text)}</pre>"
