"""A notice in the words of each kind of receiver.

Sources: Alertmanager's API v2 (`POST /api/v2/alerts`), PagerDuty's Events API v2, Slack's incoming webhooks,
the Standard Webhooks specification 1.0.0, RFC 5322 for mail. What an agent wrote stands in all of them as text:
escaped, shortened, never as a link or a header.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Final

import msgspec

from pactstream import clock
from pactstream.errors import InvalidInput
from pactstream.paging.records import Route
from pactstream.webhooks import signature

PAGERDUTY_URL: Final = "https://events.pagerduty.com/v2/enqueue"

_OPEN_FOR = timedelta(days=30)
_MAX_SUMMARY = 1_024
_MAX_TEXT = 12_000
_MAX_LABEL = 256
_EVENTS: Final = {"open": "trigger", "acknowledged": "acknowledge", "closed": "resolve"}


@dataclass(frozen=True, slots=True)
class Posting:
    """An HTTP request to be made."""

    url: str
    headers: dict[str, str]
    body: bytes


Message = Posting | EmailMessage


def render(
    body: bytes, route: Route, *, secret: str, notice_id: str, webhook_key: bytes, sender: str
) -> Message | None:
    """The message for a route; None where its kind has no word for this news.

    `secret`: the route's, opened. `sender`: the From of mails. Raises `InvalidInput`: the notice is none.
    """
    try:
        notice = msgspec.json.decode(body)
        data = notice["data"]
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise InvalidInput(f"no notice: {error}") from error
    match route.kind:
        case "alertmanager":
            return _alertmanager(notice["type"], data, route, secret)
        case "pagerduty":
            url = route.url or PAGERDUTY_URL
            return _json(url, _pagerduty(data, secret))
        case "slack":
            return _json(secret, {"text": _slack(notice["type"], data)})
        case "webhook":
            key = signature.secret_of(webhook_key, route.route_id)
            at = clock.now_micros() // clock.MICROS_PER_SECOND
            return Posting(route.url, signature.headers(key, notice_id, body, at), body)
        case "email":
            return _mail(notice, route, notice_id, sender)
        case _:
            raise InvalidInput(f"routes of kind {route.kind} are not known here")


def _json(url: str, body: Any, headers: Mapping[str, str] | None = None) -> Posting:
    return Posting(url, dict(headers or {}), msgspec.json.encode(body))


def _alertmanager(kind: str, data: Mapping[str, Any], route: Route, secret: str) -> Posting | None:
    if kind in ("page.acknowledged", "page.accept_requested"):
        return None  # an alert fires or is resolved: who looks after it is not Alertmanager's business
    now = datetime.fromtimestamp(clock.now_micros() / clock.MICROS_PER_SECOND, UTC)
    closed = data.get("status") == "closed"
    labels = {
        "alertname": "PactViolation" if data["severity"] == "critical" else "PactstreamNotice",
        "severity": data["severity"],
        "page_id": data["pageId"],
        "agent_id": data.get("agentId"),
        "agent": data.get("agentName"),
        "pact_id": data.get("pactId"),
        "rule": data.get("rule"),
        "param_path": data.get("paramPath"),
        "tool": data.get("tool"),
    }
    links = data["links"]
    alert = {
        "labels": {name: _line(value, _MAX_LABEL) for name, value in labels.items() if value},
        "annotations": {
            "summary": _line(data["title"], _MAX_SUMMARY),
            "description": text_of(data),
            **{f"link_{name}": url for name, url in links.items()},
        },
        "startsAt": data["openedAt"],
        # Without an end, it would resolve itself after Alertmanager's resolve_timeout.
        "endsAt": (now if closed else now + _OPEN_FOR).isoformat(),
        "generatorURL": links.get("console", ""),
    }
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return _json(route.url.rstrip("/") + "/api/v2/alerts", [alert], headers)


def _pagerduty(data: Mapping[str, Any], secret: str) -> dict[str, Any]:
    action = _EVENTS[data.get("status", "open")]
    event = {"routing_key": secret, "event_action": action, "dedup_key": data["pageId"]}
    if action != "trigger":
        return event
    links = data["links"]
    return event | {
        "client": "Pactstream",
        "client_url": links.get("console", ""),
        "links": [{"href": url, "text": name} for name, url in links.items()],
        "payload": {
            "summary": _line(data["title"], _MAX_SUMMARY),
            "source": data.get("agentId") or "pactstream",
            "severity": "critical" if data["severity"] == "critical" else "info",
            "timestamp": data["openedAt"],
            "component": data.get("tool"),
            "group": data.get("pactId"),
            "class": data.get("rule"),
            "custom_details": {"text": text_of(data)},
        },
    }


def _slack(kind: str, data: Mapping[str, Any]) -> str:
    def safe(text: str) -> str:
        # The three characters by which text becomes a link or calls a whole channel.
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    title = safe(_line(data["title"], _MAX_SUMMARY))
    links = "\n".join(f"<{url}|{name}>" for name, url in data["links"].items())
    what = kind.removeprefix("page.")
    return f"*{title}* ({what})\n{safe(text_of(data, links=False))}\n{links}"[:_MAX_TEXT]


def _mail(notice: Mapping[str, Any], route: Route, notice_id: str, sender: str) -> EmailMessage:
    data, message = notice["data"], EmailMessage()
    host = sender.rpartition("@")[2].rstrip(">") or "pactstream.invalid"
    what = str(notice["type"]).removeprefix("page.")
    message["Subject"] = f"[{data['severity']}, {what}] {_line(data['title'], 200)}"
    message["From"] = sender
    message["To"] = ", ".join(route.to)
    at = datetime.fromtimestamp(clock.now_micros() / clock.MICROS_PER_SECOND, UTC)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{notice_id}.{route.route_id}@{host}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834
    if data["pageId"] != notice_id:
        message["References"] = f"<{data['pageId']}@{host}>"  # one thread for all that is told of a page
    message.set_content(text_of(data))
    return message


def text_of(data: Mapping[str, Any], *, links: bool = True) -> str:
    """A notice as plain text."""
    if "body" in data:
        lines = [str(data["body"])]
    else:
        lines = [
            f"{data['agentName']} called {data['tool']}.",
            f"pact:      {data['pactId']}, version {data['pactVersion']}",
            f"parameter: {data['paramPath'] or '-'}",
            f"value:     {_line(data['value'], 500)}",
            f"rule:      {data['rule']}",
            f"expected:  {_line(data['expected'], 500)}",
            f"session:   {data['sessionId']}",
            f"times:     {data['occurrences']}, first {data['openedAt']}",
            f"status:    {data['status']} {data['resolution']}".rstrip(),
            *(f"  {one['at']} {one['action']} by {one['by']}: {one['reason']}" for one in data["history"]),
            "latest calls:",
            *(
                f"  {one['occurredAt']} {one['tool']} {_verdict(one)} {_line(one['params'], 200)}"
                for one in data["recentCalls"]
            ),
        ]
    if links:
        lines += [f"{name}: {url}" for name, url in data["links"].items()]
    return "\n".join(lines)[:_MAX_TEXT]


def _verdict(call: Mapping[str, Any]) -> str:
    if call["valid"] is None:
        return "unjudged"
    return "valid" if call["valid"] else str(call["severity"])


def _line(value: object, limit: int) -> str:
    """One line of text, shortened."""
    text = "".join(one if one.isprintable() else " " for one in str("" if value is None else value))
    return text if len(text) <= limit else text[: limit - 1] + "…"
