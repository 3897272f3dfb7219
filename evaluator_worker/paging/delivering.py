"""Sends notices on their way, and says when a page reaches nobody."""

from __future__ import annotations

import smtplib
import ssl
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from email.message import EmailMessage
from typing import Final

from evaluator_worker.paging.rendering import Message, render
from evaluator_worker.paging.telling import FALLBACK, UNDELIVERED, send
from pactstream import clock, metrics
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.records import Emit
from pactstream.paging.keys import PagingKeys
from pactstream.paging.records import Outcome, PageDeliveries, Route
from pactstream.webhooks.deliverer import Outcome as Attempt
from pactstream.webhooks.records import Delivery
from pactstream.webhooks.sender import Answer, Sender

RETRY_SECONDS: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0)
"""Waits between attempts, 80 minutes in all: a page that comes later is no page."""
ALARM_ATTEMPTS: Final = 3
"""After so many failures of a route, and nobody else having the page, it reaches nobody."""

_MAX_PAGES = 10_000
_STATES: Final = {"delivered": "delivered", "failed": "retrying", "given_up": "failed"}
_DELIVERIES = metrics.counter("pactstream_page_deliveries_total")
_SECONDS = metrics.histogram("pactstream_page_delivery_seconds")

NOTHING_TO_SAY: Final = Answer(204, "nothing to be said")


@dataclass(frozen=True, slots=True)
class Relay:
    """The operator's mail server; `user` empty: no login."""

    host: str
    port: int
    sender: str
    user: str = ""
    password: str = field(default="", repr=False)
    starttls: bool = True
    seconds: float = 10.0


class Mailer:
    """Sends mail in threads of its own, a connection for each message."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="mail")

    def send(self, message: EmailMessage) -> Future[Answer]:
        """Send once; the future never fails."""
        return self._pool.submit(self._send, message)

    def close(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown(cancel_futures=True)

    def _send(self, message: EmailMessage) -> Answer:
        relay = self._relay
        if not relay.host:
            return Answer(None, "no mail server is configured")
        try:
            with smtplib.SMTP(relay.host, relay.port, timeout=relay.seconds) as server:
                if relay.starttls:
                    server.starttls(context=ssl.create_default_context())
                if relay.user:
                    server.login(relay.user, relay.password)
                refused = server.send_message(message)
        except (smtplib.SMTPException, OSError) as error:
            return Answer(None, type(error).__name__)
        return Answer(None, f"{len(refused)} addresses were refused") if refused else Answer(250, "accepted")


@dataclass(slots=True)
class Delivering:
    """What the deliverer's plan needs: how to post, and what to make of what came back.

    Who has a page already is remembered here only, for the latest ten thousand: after a restart in the middle
    of an outage, a page that one route has and another does not get may raise the alarm without need.
    """

    find: Callable[[str], Route | None]
    keys: PagingKeys
    sender: Sender
    own_sender: Sender
    """For the operator's fallback, which may be inside."""
    mailer: Mailer
    mail_from: str
    fallback: tuple[Route, str] | None = None
    """The operator's route and its secret."""
    _pages: OrderedDict[str, dict[str, Outcome]] = field(default_factory=OrderedDict)

    def post(self, delivery: Delivery) -> Future[Answer] | None:
        """Begin to post one; None where its route has gone."""
        found = self._route(delivery.subscription_id)
        if found is None:
            return None
        try:
            route, secret = found
            message = render(
                delivery.body,
                route,
                secret=secret,
                notice_id=delivery.notice_id,
                webhook_key=self.keys.webhooks,
                sender=self.mail_from,
            )
        except InvalidInput as error:
            return _done(Answer(None, str(error)))
        return self._sent(message, route)

    def _route(self, route_id: str) -> tuple[Route, str] | None:
        if route_id == FALLBACK:
            return self.fallback
        route = self.find(route_id)
        if route is None:
            return None
        try:
            return route, self.keys.open(route.secret, tenant_id=route.tenant_id, route_id=route_id)
        except InvalidInput:
            # Without it the receiver would refuse, and that is told in the same way.
            return replace(route, kind="sealed"), ""

    def _sent(self, message: Message | None, route: Route) -> Future[Answer]:
        if message is None:
            return _done(NOTHING_TO_SAY)
        if isinstance(message, EmailMessage):
            return self.mailer.send(message)
        sender = self.own_sender if route.route_id == FALLBACK else self.sender
        return sender.post(message.url, message.headers, message.body)

    def told(self, delivery: Delivery, outcome: Attempt, answer: Answer, emit: Emit) -> None:
        """Note what became of an attempt; raise the alarm where a page reaches nobody."""
        route_id = delivery.subscription_id
        found = self.fallback[0] if route_id == FALLBACK and self.fallback else self.find(route_id)
        kind = found.kind if found else ""
        _DELIVERIES.labels(kind, outcome).inc()
        if outcome == "delivered":
            _SECONDS.observe((clock.now_micros() - delivery.created_at_micros) / clock.MICROS_PER_SECOND)
        page_id, tenant_id = page_of(delivery), found.tenant_id if found else ""
        if page_id is None:
            return
        error = "" if outcome == "delivered" else answer.reason
        outcomes = self._pages.setdefault(page_id, {})
        self._pages.move_to_end(page_id)
        while len(self._pages) > _MAX_PAGES:
            self._pages.popitem(last=False)
        outcomes[route_id] = Outcome(route_id, kind, _STATES[outcome], delivery.attempts + 1, error)
        said = PageDeliveries(page_id, tenant_id, tuple(outcomes.values()))
        # A crash before this is written leaves the notice where it was: it is sent, and told, once more.
        emit(topics.PAGES, said.key.encode(), said.encode(), partition=0)
        if self._reaches_nobody(outcomes, delivery, outcome):
            UNDELIVERED.inc()
            if self.fallback is not None:
                send(emit, None, FALLBACK, delivery.notice_id, delivery.body)

    def _reaches_nobody(self, outcomes: dict[str, Outcome], delivery: Delivery, attempt: Attempt) -> bool:
        """Whether this attempt is the one after which that is to be said: once for each notice."""
        if delivery.subscription_id == FALLBACK or FALLBACK in outcomes:
            return False
        if any(one.state == "delivered" for one in outcomes.values()):
            return False
        failures = delivery.attempts + 1
        lost = attempt == "given_up" and failures < ALARM_ATTEMPTS
        return (failures == ALARM_ATTEMPTS or lost) and all(
            one.attempts >= ALARM_ATTEMPTS or one.state == "failed" for one in outcomes.values()
        )


def page_of(delivery: Delivery) -> str | None:
    """The page that a notice is about; None for a notice of another kind, or a test."""
    page_id, dot, _ = delivery.notice_id.partition(".")
    return page_id if dot else None


def series_of(delivery: Delivery) -> str | None:
    """Notices of which only the newest counts: those to one route of one page."""
    page_id = page_of(delivery)
    return None if page_id is None else f"{delivery.subscription_id}/{page_id}"


def _done(answer: Answer) -> Future[Answer]:
    done: Future[Answer] = Future()
    done.set_result(answer)
    return done
