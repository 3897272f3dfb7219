"""The routes of gateway and oracle, from the OpenAPI documents that they serve at `/openapi.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

from starlette.types import ASGIApp

from ingest_gateway.app import create_app as create_gateway
from ingest_gateway.settings import GatewaySettings
from oracle_api.app import create_app as create_oracle
from tests.asgi import ask


def gateway() -> str:
    """Every route of the gateway."""
    # Routes are described without being asked, so what they would work with is not needed.
    document = _document(create_gateway(MagicMock(), GatewaySettings()))
    return _page("Gateway routes", "What holds for all of them: [Gateway](../api.md).", document)


def oracle() -> str:
    """Every route of the oracle."""
    document = _document(create_oracle(MagicMock(demo_agent="")))
    return _page("Oracle routes", "What they are for: [Oracle](../oracle.md).", document)


def _document(app: ASGIApp) -> dict[str, Any]:
    found: dict[str, Any] = ask(app, "/openapi.json").json()
    return found


def _page(title: str, preface: str, document: dict[str, Any]) -> str:
    return "\n".join(_lines(title, preface, document))


def _lines(title: str, preface: str, document: dict[str, Any]) -> Iterator[str]:
    yield f"# {title}\n\n{document['info']['summary']} {preface}\n"
    yield "Made from the service's OpenAPI document, which each one serves at `/openapi.json`.\n"
    tag = ""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                yield f"## {tag}\n"
            yield f"### {method.upper()} {path}\n"
            yield from _operation(operation)
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        yield from _folded(name, schema)


def _operation(operation: dict[str, Any]) -> Iterator[str]:
    yield f"{operation['summary']}. {operation.get('description', '')}\n"
    parameters = operation.get("parameters", ())
    if parameters:
        yield "| parameter | in | meaning |\n|---|---|---|"
        for one in parameters:
            due = "" if one.get("required") else " Optional."
            yield f"| `{one['name']}` | {one['in']} | {one.get('description', '')}{due} |"
        yield ""
    if "requestBody" in operation:
        yield from _content("Request", operation["requestBody"])
    yield "| answer | when |\n|---|---|"
    for status, answer in operation["responses"].items():
        yield f"| {status} | {answer['description']} |"
    yield ""
    for status, answer in operation["responses"].items():
        yield from _content(f"Answer {status}", answer)


def _content(title: str, described: dict[str, Any]) -> Iterator[str]:
    for media in described.get("content", {}).values():
        if shown := media.get("example", media.get("schema")):
            yield from _folded(title, shown)


def _folded(title: str, value: object) -> Iterator[str]:
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    yield f'??? note "{title}"\n'
    yield "    ```json"
    yield from (f"    {line}" for line in text.splitlines())
    yield "    ```\n"
