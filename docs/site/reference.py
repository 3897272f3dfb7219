"""Pages of reference that are made from the code each time the site is built, so they cannot be out of date."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import typer
from typer.cli import get_docs_for_click

from docs.site import openapi
from pactstream import errors, schema_files, web
from pactstream.cli.app import app
from pactstream.trust import errors as trust_errors


class Made(NamedTuple):
    """A page that is made: `path` below the site's root."""

    title: str
    path: str
    text: Callable[[], str]


def commands() -> str:
    """Every command with its arguments and options."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="pactstream", title="Commands")
    text = text.replace("* `--help`: Show this message and exit.\n", "").replace("**Options**:\n\n\n", "")
    # Typer cuts the sentences of these lists off; each command has its own section with the whole.
    return re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+\n", "", text)


def schemas() -> str:
    """Every Avro schema in its newest version, by topic."""
    newest: dict[str, dict[str, Any]] = {}
    for entry in json.loads(schema_files.read_text("registry.json")):
        newest[entry["subject"]] = entry
    lines = [
        "# Avro schemas\n",
        "The newest version of each. Values in Kafka begin with a zero byte and the schema's id in four bytes",
        "(Confluent's wire format); ids are fixed, and the gateway serves every version as a registry would",
        "([Gateway](../api.md)). A newer version reads what older ones wrote.\n",
    ]
    for subject in sorted(newest):
        entry = newest[subject]
        record = json.loads(schema_files.read_text(entry["file"]))
        lines += [f"## {subject}\n", f"`{entry['name']}`, version {entry['version']}, id {entry['id']}.\n"]
        lines += _record(record)
    return "\n".join(lines)


def _record(record: dict[str, Any]) -> Iterator[str]:
    inner: list[dict[str, Any]] = []
    if "doc" in record:
        yield record["doc"] + "\n"
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    for one in record["fields"]:
        default = f" Default: `{json.dumps(one['default'])}`." if "default" in one else ""
        yield f"| `{one['name']}` | {_type(one['type'], inner)} | {_cell(one.get('doc', ''))}{default} |"
    yield ""
    for nested in inner:
        yield f"**`{nested['name']}`**\n"
        yield from _record(nested)


def _type(avro: Any, inner: list[dict[str, Any]]) -> str:
    match avro:
        case str():
            return avro
        case list():
            return " or ".join(_type(one, inner) for one in avro)
        case {"type": "array", "items": items}:
            return f"array of {_type(items, inner)}"
        case {"type": "map", "values": values}:
            return f"map of {_type(values, inner)}"
        case {"type": "record", "name": name}:
            inner.append(avro)
            return f"`{name}`"
        case {"type": "enum", "symbols": symbols}:
            return "one of " + ", ".join(f"`{one}`" for one in symbols)
    return str(avro["type"])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def faults() -> str:
    """The types of errors, what each makes a loop do, and the codes on the wire."""
    # From its table on, the module's own documentation is Markdown.
    opening, _, table = (errors.__doc__ or "").partition("\n| type")
    lines = ["# Errors\n", opening, "\n| type" + table, "| type | meaning |", "|---|---|"]
    lines += [f"| `{kind.__name__}` | {_summary(kind)} |" for kind in _kinds(errors)]
    lines += [
        "\n## On the wire\n",
        'An answer with an error is `{"error", "code", "details"}`; each detail has a `path` and a `message`.',
        "For a program the code decides, for people the message.\n",
        "| status | `code` |",
        "|---|---|",
    ]
    lines += [f"| {status} {HTTPStatus(status).phrase} | `{code}` |" for status, code in web.CODES.items()]
    lines += [
        "\n## For counterparties\n",
        "What `TrustClient` raises ([For counterparties](../counterparty.md)).\n",
        "| type | meaning |",
        "|---|---|",
    ]
    lines += [f"| `{kind.__name__}` | {_summary(kind)} |" for kind in _kinds(trust_errors)]
    return "\n".join(lines)


def _kinds(module: Any) -> list[type[Exception]]:
    found = vars(module).values()
    return [
        one
        for one in found
        if isinstance(one, type) and issubclass(one, Exception) and one.__module__ == module.__name__
    ]


def _summary(kind: type[Exception]) -> str:
    return _cell((kind.__doc__ or "").split("\n\n")[0])


PAGES: Final = (
    Made("Commands", "reference/commands.md", commands),
    Made("Gateway routes", "reference/gateway.md", openapi.gateway),
    Made("Oracle routes", "reference/oracle.md", openapi.oracle),
    Made("Avro schemas", "reference/schemas.md", schemas),
    Made("Errors", "reference/errors.md", faults),
)
