"""Pages without Kafka: what opens one, what counts it up, what closes it, and what is remembered."""

from __future__ import annotations

import json
import uuid

import msgspec
import pytest

from evaluator_worker.paging.watch import IDLE_MICROS, KEPT_MICROS
from pactstream import clock
from pactstream.errors import InvalidInput
from pactstream.kafka import topics
from pactstream.kafka.records import Record
from pactstream.paging.records import PageDeliveries, decode_page
from pactstream.webhooks.records import decode_delivery
from tests.evaluator_tools import AGENT, HOUR, Written, call
from tests.paging_tools import KEYS, TENANT, Paging, Routes, route


def test_a_critical_violation_opens_a_page_with_all_that_is_needed() -> None:
    paging = Paging()
    calls = [call(number) for number in range(1, 12)]
    bad = call(5_000)
    paging.send(*calls)
    assert paging.pages() == []
    paging.send(bad)
    (page,) = paging.pages()
    assert (page.rule, page.param_path, page.tool) == ("valueRange", "amount", "transfer_funds")
    assert (page.status, page.occurrences, page.event_id) == ("open", 1, bad["event_id"])
    (violation,) = json.loads(page.violations)
    assert (violation["value"], violation["expected"]) == (5_000, {"max": 1000})
    recent = json.loads(page.recent_calls)
    assert [one["eventId"] for one in recent] == [one["event_id"] for one in [bad, *reversed(calls)][:10]]
    assert recent[0]["params"] == {"amount": 5_000}
    (delivery,) = paging.deliveries()
    data = json.loads(delivery.body)["data"]
    assert data["value"] == "5000"
    assert data["links"]["proof"].endswith(f"/{bad['event_id']}/proof")
    token = data["links"]["block"].rpartition("/")[2]
    link = KEYS.link(token, HOUR // 1_000_000)
    assert (link.tenant_id, link.page_id, link.action) == (TENANT, page.page_id, "block")


def test_the_opening_stands_on_the_ledger_under_the_pages_id() -> None:
    paging = Paging()
    bad = call(5_000)
    paging.send(bad)
    (page,) = paging.pages()
    opened = paging.ledger.leaves()[-1]
    assert (opened.type, opened.outcome, opened.event_id) == ("page", "opened", page.page_id)
    assert opened.parent_event_id == bad["event_id"]
    assert "metadata.by" in opened.commitments


def test_further_violations_count_up_the_open_page_and_tell_nobody() -> None:
    paging = Paging()
    paging.send(*[call(5_000) for _ in range(3)])
    last = call(6_000)
    paging.send(last, received=2 * HOUR)
    (page,) = paging.pages()
    assert (page.occurrences, page.last_event_id, page.last_at_micros) == (4, last["event_id"], 2 * HOUR)
    assert paging.told() == ["page.opened"]


def test_the_same_record_twice_makes_the_same_page() -> None:
    first, second = Paging(), Paging()
    bad = call(5_000)
    for paging in (first, second):
        paging.send(bad)
        paging.send(bad)  # the evaluator drops it
    assert first.pages() == second.pages()
    assert len(first.pages()) == 1
    assert first.pages()[0].occurrences == 1


def test_each_rule_and_each_tenant_has_its_own_page() -> None:
    paging = Paging()
    paging.send(call(5_000))
    paging.send(call(params=b"{}"))
    paging.send(call(5_000), tenant="u")
    assert sorted((one.tenant_id, one.rule) for one in paging.pages()) == [
        ("t", "required"),
        ("t", "valueRange"),
        ("u", "valueRange"),
    ]
    theirs = next(one for one in paging.pages() if one.tenant_id == "u")
    assert len(json.loads(theirs.recent_calls)) == 1  # nothing of the other tenant's


def test_actions_follow_in_order_and_a_closed_page_is_followed_by_a_new_one() -> None:
    paging = Paging()
    paging.send(call(5_000))
    (page,) = paging.pages()
    paging.act(page, "acknowledged", by="key/abc", reason="looking")
    assert paging.pages()[0].status == "acknowledged"
    paging.send(call(5_000))
    assert paging.pages()[0].occurrences == 2
    paging.act(page, "blocked", by="link", reason="odd")
    closed = paging.pages()[0]
    assert (closed.status, closed.resolution) == ("closed", "blocked")
    history = json.loads(closed.history)
    assert [(one["by"], one["action"], one["reason"]) for one in history] == [
        ("pactstream", "opened", ""),
        ("key/abc", "acknowledged", "looking"),
        ("link", "blocked", "odd"),
    ]
    assert paging.told() == ["page.opened", "page.acknowledged", "page.blocked"]
    paging.act(page, "acknowledged", by="key/late")
    assert paging.pages()[0].status == "closed"
    assert len(paging.told()) == 3
    paging.send(call(5_000))
    assert [one.status for one in paging.pages()] == ["closed", "open"]


def test_nobody_acts_on_another_tenants_page() -> None:
    paging = Paging()
    paging.send(call(5_000))
    (page,) = paging.pages()
    from pactstream.paging import events

    event = events.page_event(page, "blocked", event_id=str(uuid.uuid4()), by="x", reason=None, at_micros=HOUR)
    paging.send(event, tenant="u")
    assert paging.pages()[0].status == "open"


def test_rotating_ends_the_sessions_in_flight_as_aborted() -> None:
    paging = Paging()
    start = {"type": "session_start", "occurred_at_micros": HOUR, "pact_id": None, "pact_version": None}
    for session in ("s-1", "s-2", "s-3"):
        begun = {**start, "event_id": str(uuid.uuid4()), "session_id": session}
        paging.send(begun)
    paging.send(start | {"type": "session_end", "event_id": str(uuid.uuid4()), "session_id": "s-2"})
    paging.send(call(5_000))
    (page,) = paging.pages()
    paging.act(page, "rotated", reason="leaked")
    ended = [one for one in paging.ledger.leaves() if one.type == "session_end" and one.outcome == "aborted"]
    assert [one.session_id for one in ended] == ["s-1", "s-3"]
    assert {one.parent_event_id for one in ended} == {page.page_id}
    paging.act(page, "rotated", by="key/2")
    assert len([one for one in paging.ledger.leaves() if one.outcome == "aborted"]) == 2


def test_a_restored_watch_goes_on_where_the_old_one_stood() -> None:
    paging = Paging()
    paging.send(call(1), call(5_000))
    paging.restart()
    paging.send(call(2), call(5_000), call(params=b"{}"))
    first, second = paging.pages()
    assert first.occurrences == 2
    assert [one["params"] for one in json.loads(second.recent_calls)] == [
        {},
        {"amount": 5_000},
        {"amount": 2},
        {"amount": 5_000},
        {"amount": 1},
    ]


def test_a_page_without_a_route_is_an_alarm_of_its_own() -> None:
    paging = Paging(routes=Routes([]), fallback=True)
    paging.send(call(5_000))
    (delivery,) = paging.deliveries()
    assert delivery.subscription_id == "fallback"
    (letter,) = paging.written.of(topics.PAGE_DELIVERIES + ".dlq")
    assert letter[0] == delivery.key  # replayed, it goes to the operator
    assert letter[1] is not None
    assert decode_delivery(letter[1]).body == delivery.body
    read = [decode_page(value) for _, value in paging.written.of(topics.PAGES) if value]
    (said,) = [one for one in read if isinstance(one, PageDeliveries)]
    assert said.deliveries[0].state == "failed"


def test_a_route_for_notices_gets_no_pages() -> None:
    paging = Paging(routes=Routes([route(severities=("notice",)), route("r-2")]))
    paging.send(call(5_000))
    assert [one.subscription_id for one in paging.deliveries()] == ["r-2"]


def test_kinds_of_violations_beyond_fifty_share_a_page() -> None:
    paging = Paging()
    document = {
        "name": "Many",
        "agentId": AGENT,
        "conditions": [
            {
                "type": "param_binding",
                "severity": "critical",
                "parameterBinding": {
                    "tool": "transfer_funds",
                    "rules": [{"paramPath": f"p{number}", "required": True} for number in range(60)],
                },
            }
        ],
    }
    from tests.evaluator_tools import Pacts, task

    paging.evaluator = task(pacts=Pacts(document))
    paging.send(call(params=b"{}"))
    paging.send(call(params=b"{}"))
    pages = paging.pages()
    assert len(pages) == 51
    assert [one.rule for one in pages].count("more") == 1


def test_erased_values_leave_the_page() -> None:
    paging = Paging()
    bad = call(5_000)
    paging.send(call(7), bad)
    erasure = {
        "type": "erasure",
        "event_id": str(uuid.uuid4()),
        "session_id": "",
        "occurred_at_micros": HOUR,
        "parent_event_id": bad["event_id"],
    }
    paging.send(erasure)
    (page,) = paging.pages()
    assert page.violation()["value"] is None
    assert [one["params"] for one in json.loads(page.recent_calls)] == [None, {"amount": 7}]
    paging.restart()
    paging.send(call(params=b"{}"))
    assert b"5000" not in paging.pages()[1].recent_calls


def test_long_values_are_shortened() -> None:
    paging = Paging()
    paging.send(call(params=msgspec.json.encode({"amount": "9" * 50_000, "memo": "x" * 50_000})))
    (page,) = paging.pages()
    assert len(page.encode()) < 10_000


def test_what_is_long_over_is_forgotten() -> None:
    paging = Paging()
    paging.send(call(5_000))
    (page,) = paging.pages()
    paging.act(page, "blocked")
    paging.send(call(1), received=HOUR + KEPT_MICROS + IDLE_MICROS, tenant="u")
    newest = dict(paging.written.of(topics.PAGES))
    assert newest[page.page_id.encode()] is None
    paging.send(call(1), received=HOUR + KEPT_MICROS + 2 * IDLE_MICROS + 2, tenant="v")
    left = {key for key, value in dict(paging.written.of(topics.PAGING_STATE)).items() if value is not None}
    assert left == {f"{AGENT}/v".encode()}


def test_a_history_opens_no_pages_when_paging_begins() -> None:
    paging = Paging(max_age_micros=24 * HOUR)
    paging.send(call(5_000))
    assert paging.pages() == []
    paging.send(call(5_000), received=clock.now_micros() - 23 * HOUR)
    assert len(paging.pages()) == 1


def test_what_is_no_batch_is_refused() -> None:
    with pytest.raises(InvalidInput):
        Paging().watch.process(Record("telemetry.evaluated", 3, 0, b"k", b"nothing"), Written())
