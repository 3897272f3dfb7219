"""Messages for each kind of receiver, and what is made of their answers."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as SavedMessages

from evaluator_worker.paging.delivering import ALARM_ATTEMPTS, Delivering, Mailer, Relay, series_of
from evaluator_worker.paging.projector import COLUMNS, Read, project
from evaluator_worker.paging.rendering import PAGERDUTY_URL, Posting, render
from pactstream.devstack import ports
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.paging.records import Outcome, PageDeliveries, Route, decode_page
from pactstream.webhooks import signature
from pactstream.webhooks.records import Delivery
from pactstream.webhooks.sender import Answer
from tests.evaluator_tools import Written, call
from tests.paging_tools import KEYS, Paging, route

HOSTILE = "<!channel> & <https://evil.example|click>\r\nBcc: everybody@example.org"


def opened(amount: object = 5_000) -> tuple[Paging, Delivery]:
    paging = Paging()
    paging.send(call(amount))
    return paging, paging.deliveries()[-1]


def rendered(delivery: Delivery, of: Route, secret: str = "") -> Any:
    return render(
        delivery.body,
        of,
        secret=secret,
        notice_id=delivery.notice_id,
        webhook_key=KEYS.webhooks,
        sender="Pactstream <pages@pactstream.example>",
    )


def closed_after(paging: Paging) -> Delivery:
    (page,) = paging.pages()
    paging.act(page, "acknowledged")
    paging.act(page, "blocked", reason="odd")
    return paging.deliveries()[-1]


def test_alertmanager_gets_an_alert_that_fires_until_the_page_is_closed() -> None:
    paging, delivery = opened()
    of = route(kind="alertmanager", url="https://am.example/")
    posting = rendered(delivery, of, "token")
    assert posting.url == "https://am.example/api/v2/alerts"
    assert posting.headers == {"Authorization": "Bearer token"}
    (alert,) = json.loads(posting.body)
    labels, page = alert["labels"], paging.pages()[0]
    assert (labels["alertname"], labels["severity"], labels["page_id"]) == (
        "PactViolation",
        "critical",
        page.page_id,
    )
    assert all(isinstance(value, str) and value for value in labels.values())
    assert "5000" in alert["annotations"]["description"]
    assert alert["endsAt"] > alert["startsAt"]
    (resolved,) = json.loads(rendered(closed_after(paging), of).body)
    assert resolved["labels"] == labels  # by which Alertmanager knows it again
    assert resolved["endsAt"] < alert["endsAt"]
    acknowledged = paging.deliveries()[-2]
    assert rendered(acknowledged, of) is None


def test_pagerduty_gets_trigger_acknowledge_and_resolve_under_one_key() -> None:
    paging, delivery = opened()
    closed_after(paging)
    of = route(kind="pagerduty", url="")
    events = [json.loads(rendered(one, of, "routing").body) for one in paging.deliveries()]
    assert [one["event_action"] for one in events] == ["trigger", "acknowledge", "resolve"]
    assert {one["dedup_key"] for one in events} == {paging.pages()[0].page_id}
    assert {one["routing_key"] for one in events} == {"routing"}
    assert events[0]["payload"]["severity"] == "critical"
    assert rendered(delivery, of, "routing").url == PAGERDUTY_URL


def test_slack_gets_text_that_calls_nobody_and_links_nowhere() -> None:
    _, delivery = opened(HOSTILE)
    posting = rendered(delivery, route(kind="slack", url=""), "https://hooks.slack.example/T/B/x")
    assert posting.url == "https://hooks.slack.example/T/B/x"
    text = json.loads(posting.body)["text"]
    assert "<!channel>" not in text
    assert "<https://evil" not in text
    assert "|block>" in text


def test_a_webhook_is_signed_with_the_routes_own_secret() -> None:
    _, delivery = opened()
    posting = rendered(delivery, route())
    secret = signature.shown(signature.secret_of(KEYS.webhooks, "r-1"))
    at = int(posting.headers["webhook-timestamp"])
    assert signature.verify(secret, posting.headers, posting.body, at) == delivery.notice_id
    assert posting.body == delivery.body


def test_mail_keeps_what_agents_wrote_out_of_its_headers() -> None:
    _, delivery = opened(HOSTILE)
    message = rendered(delivery, route(kind="email", url="", to=("ops@acme.example", "b@acme.example")))
    assert isinstance(message, EmailMessage)
    assert message["To"] == "ops@acme.example, b@acme.example"
    assert message["Bcc"] is None
    assert "breaks valueRange at amount" in message["Subject"]
    assert "latest calls:" in message.get_content()


@pytest.mark.parametrize("kind", ["alertmanager", "pagerduty", "slack", "webhook", "email"])
def test_notices_and_tests_have_a_form_for_each_kind(kind: str) -> None:
    data = {
        "pageId": "n-1",
        "title": "score fell\nby 7 points",
        "body": "By dimension",
        "severity": "notice",
        "status": "open",
        "openedAt": "2026-05-13T10:00:00.000000Z",
        "links": {"console": "https://console.example/a"},
    }
    body = json.dumps({"type": "notice", "timestamp": "t", "data": data}).encode()
    message = rendered(
        Delivery("n-1", "r-1", body, 1), route(kind=kind, to=("a@b.example",)), "https://s.example"
    )
    text = message.get_content() if isinstance(message, EmailMessage) else message.body.decode()
    assert "By dimension" in text


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"type":"notice"}', b"\xff"])
def test_what_is_no_notice_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        rendered(Delivery("n", "r", body, 1), route())


@pytest.fixture
def mail_server() -> Any:
    class Saved(SavedMessages):
        def handle_message(self, message: Any) -> None:
            found.append(message)

    found: list[Any] = []
    port = ports.free_port()
    controller = Controller(Saved(), hostname="127.0.0.1", port=port)
    controller.start()
    yield port, found
    controller.stop()


def test_mail_is_delivered_to_a_relay(mail_server: Any) -> None:
    port, found = mail_server
    _, delivery = opened()
    message = rendered(delivery, route(kind="email", url="", to=("ops@acme.example",)))
    mailer = Mailer(Relay("127.0.0.1", port, "pages@pactstream.example", starttls=False))
    try:
        assert mailer.send(message).result(10).delivered
        refused = Mailer(Relay("127.0.0.1", port, "x@y.example")).send(message).result(10)
    finally:
        mailer.close()
    assert not refused.delivered  # the relay has no STARTTLS: nothing goes in the clear
    (saved,) = found
    assert saved["To"] == "ops@acme.example"


def test_without_a_relay_mail_fails_and_says_so() -> None:
    mailer = Mailer(Relay("", 25, "a@b.example"))
    assert mailer.send(EmailMessage()).result(5).reason == "no mail server is configured"
    mailer.close()


@dataclass
class Posts:
    """A `Sender` whose receivers take everything."""

    urls: list[str] = field(default_factory=list)

    def post(self, url: str, headers: Any, body: bytes) -> Future[Answer]:
        self.urls.append(url)
        done: Future[Answer] = Future()
        done.set_result(Answer(200, "fine"))
        return done


def delivering(*routes: Route, fallback: bool = True) -> tuple[Delivering, Posts, Posts]:
    public, own = Posts(), Posts()
    found = {one.route_id: one for one in routes}
    operator = route("fallback", "alertmanager", tenant_id="", url="http://127.0.0.1:9093")
    made = Delivering(
        found.get,
        KEYS,
        public,  # type: ignore[arg-type]
        own,  # type: ignore[arg-type]
        Mailer(Relay("", 25, "a@b.example")),
        "a@b.example",
        (operator, "") if fallback else None,
    )
    return made, public, own


def said(written: Written) -> list[Outcome]:
    _, value = written.of(topics.PAGES)[-1]
    found = decode_page(value)
    assert isinstance(found, PageDeliveries)
    return list(found.deliveries)


def test_the_operators_route_alone_may_be_inside() -> None:
    _, delivery = opened()
    made, public, own = delivering(route())
    post = made.post(delivery)
    assert post is not None
    assert post.result().delivered
    assert made.post(Delivery(delivery.notice_id, "fallback", delivery.body, 1)) is not None
    assert (len(public.urls), own.urls) == (1, ["http://127.0.0.1:9093/api/v2/alerts"])
    assert made.post(Delivery(delivery.notice_id, "gone", delivery.body, 1)) is None


def test_a_secret_under_another_key_is_a_failure_that_is_told() -> None:
    _, delivery = opened()
    made, public, _ = delivering(route(kind="slack", secret=b"x" * 40))
    post = made.post(delivery)
    assert post is not None
    assert not post.result().delivered
    assert public.urls == []


def attempts(made: Delivering, delivery: Delivery, route_id: str, count: int, written: Written) -> None:
    for number in range(count):
        one = Delivery(delivery.notice_id, route_id, delivery.body, delivery.created_at_micros, number)
        made.told(one, "failed", Answer(503, "it answered 503"), written)


def test_a_page_that_every_route_fails_goes_to_the_operator_once() -> None:
    _, delivery = opened()
    made, _, _ = delivering(route(), route("r-2"))
    written = Written()
    attempts(made, delivery, "r-2", 1, written)
    attempts(made, delivery, "r-1", ALARM_ATTEMPTS + 1, written)
    assert written.of(topics.PAGE_DELIVERIES) == []  # the other has been tried once only
    attempts(made, delivery, "r-2", ALARM_ATTEMPTS, written)
    (alarm,) = written.of(topics.PAGE_DELIVERIES)
    assert alarm[0] == f"fallback/{delivery.notice_id}".encode()
    made.told(Delivery(delivery.notice_id, "fallback", b"", 1), "delivered", Answer(200, ""), written)
    attempts(made, delivery, "r-2", ALARM_ATTEMPTS, written)
    assert len(written.of(topics.PAGE_DELIVERIES)) == 1
    assert [one.state for one in said(written)] == ["retrying", "retrying", "delivered"]


def test_a_page_that_one_route_has_raises_no_alarm() -> None:
    _, delivery = opened()
    made, _, _ = delivering(route(), route("r-2"))
    written = Written()
    made.told(delivery, "delivered", Answer(200, "fine"), written)
    attempts(made, delivery, "r-2", ALARM_ATTEMPTS + 2, written)
    assert written.of(topics.PAGE_DELIVERIES) == []
    assert [one.state for one in said(written)] == ["delivered", "retrying"]


def test_of_one_page_and_route_the_newest_counts_and_tests_are_alone() -> None:
    _, delivery = opened()
    later = Delivery(f"{delivery.notice_id.partition('.')[0]}.later", "r-1", b"", 2)
    assert series_of(delivery) == series_of(later)
    assert series_of(Delivery("test-1", "r-1", b"", 1)) is None


@dataclass
class Rows:
    """ClickHouse's table, newest version of each page."""

    kept: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    inserts: int = 0

    def rows(self, sql: str, parameters: Any = None, *, formats: Any = None) -> list[Any]:
        if "ids" in parameters:
            found = [self.kept[one] for one in parameters["ids"] if one in self.kept]
            return [(row[1], row[-2], row[-1]) for row in found]
        return [self.kept[parameters["id"]][:-2]] if parameters["id"] in self.kept else []

    def insert(self, table: str, columns: Any, rows: Any) -> None:
        assert (table, tuple(columns)) == ("pages", COLUMNS)
        self.inserts += 1
        for row in rows:
            assert len(row) == len(COLUMNS)
            if row[1] not in self.kept or self.kept[row[1]][-1] <= row[-1]:
                self.kept[row[1]] = row


def test_records_read_twice_make_the_same_rows() -> None:
    paging, _ = opened()
    (page,) = paging.pages()
    told = PageDeliveries(page.page_id, page.tenant_id, (Outcome("r-1", "slack", "delivered", 2, ""),))
    read: list[Read] = [(0, page), (1, told)]
    database = Rows()
    assert project(database, read) == 1
    before = dict(database.kept)
    assert project(database, read) == 0
    assert project(database, read[:1]) == 0
    assert database.kept == before
    row = dict(zip(COLUMNS, before[page.page_id], strict=True))
    assert json.loads(row["deliveries"])[0]["attempts"] == 2
    assert (row["version"], row["opened_at"]) == (1, page.created_at_micros)


def test_what_became_of_a_delivery_reaches_a_row_that_stands_already() -> None:
    paging, _ = opened()
    (page,) = paging.pages()
    database = Rows()
    project(database, [(0, page)])
    told = PageDeliveries(
        page.page_id, page.tenant_id, (Outcome("r-1", "slack", "retrying", 1, "it answered 503"),)
    )
    project(database, [(5, told)])
    other = PageDeliveries(page.page_id, page.tenant_id, (Outcome("r-2", "email", "delivered", 1, ""),))
    project(database, [(6, other)])
    row = dict(zip(COLUMNS, database.kept[page.page_id], strict=True))
    assert [one["route"] for one in json.loads(row["deliveries"])] == ["r-1", "r-2"]
    assert row["status"] == "open"
    assert project(database, [(7, PageDeliveries("unknown", "t", ()))]) == 0


def test_posting_is_what_render_gives() -> None:
    _, delivery = opened()
    assert isinstance(rendered(delivery, route()), Posting)
