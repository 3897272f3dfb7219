"""Kafka rights: the page shows them, and some lines must never be in them."""

from __future__ import annotations

import pytest

from pactstream.kafka import topics
from pactstream.kafka.rights import RIGHTS, Rights, rights_of
from tests import rights_table


def test_the_page_shows_the_rights() -> None:
    text = rights_table.PAGE.read_text()
    assert rights_table.page(text) == text


@pytest.mark.parametrize("topic", [topics.TENANTS, topics.PACTS, topics.ISSUERS])
def test_only_the_gateway_writes_the_control_plane(topic: str) -> None:
    assert [service for service, rights in RIGHTS.items() if topic in rights.writes] == ["gateway"]


def test_strangers_process_writes_nothing_that_is_judged_or_sealed() -> None:
    assert set(RIGHTS["oracle"].writes) == {topics.SUBSCRIPTIONS, topics.SAMPLES}


def test_private_values_are_read_by_those_who_need_them() -> None:
    readers = {service for service, rights in RIGHTS.items() if topics.EVALUATED in rights.reads}
    assert readers == {"sealer", "aggregator", "behaviour", "paging", "otlp", "external"}


def test_names_have_the_prefix() -> None:
    rights = Rights(reads=("a",), writes=("b",), groups=("c", "f-*"), describes=("d",), transactions=("e-",))
    assert sorted(map(str, rights_of("me", rights, "x."))) == [
        "me  describe  group x.d",
        "me  describe  group x.reader",
        "me  read  group x.c",
        "me  read  group x.f-*",
        "me  read  topic x.a",
        "me  write  topic x.b",
        "me  write  transactional id x.e-*",
    ]
