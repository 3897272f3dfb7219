"""Puts the relays together, one for each destination."""

from __future__ import annotations

from evaluator_worker.otlp.collector import Collector
from evaluator_worker.otlp.relay import Plan, Relay
from evaluator_worker.otlp.settings import Destination, OtlpSettings


def build(settings: OtlpSettings) -> list[Relay]:
    """The relays. Raises Fatal: the destinations are not what they must be."""
    return [_relay(settings, one) for one in settings.destinations()]


def _relay(settings: OtlpSettings, to: Destination) -> Relay:
    plan = Plan(
        name=to.name,
        tenants=frozenset(map(str, to.tenants)),
        private=to.private,
        history=to.history,
        max_spans=settings.otlp_max_spans,
        linger_seconds=settings.otlp_linger_seconds,
        sessions=settings.otlp_sessions,
        session_hours=settings.otlp_session_hours,
    )
    headers = {name: value.get_secret_value() for name, value in to.headers.items()}
    collector = Collector(to.endpoint, headers, settings.deployment, seconds=settings.otlp_seconds, ca=to.ca)
    return Relay(settings, plan, collector)
