"""The Faust app: windows in, anomalies out, what is known of each agent in a table with a changelog.

At least once, and that is enough: `stream.advance` knows what it has taken. For each record, in this order:

1. Anomalies are written and acknowledged. A crash right after it leaves them in the topic and the state as it
   was: the same windows come again and find the same, byte for byte; readers know them by id and version.
2. The state is set, and with it its changelog. A crash leaves the offset behind: the windows come again and
   change nothing.
3. Faust commits the offset, after all that was sent has been acknowledged.

Faust reads what is not committed, too. Windows are a function of what was judged, so one of a transaction that
was aborted is written again, the same.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterable
from threading import Event
from typing import Any, Final

import faust
from faust.types.auth import CredentialsT

from evaluator_worker.anomaly.consumer import WholeTransport
from evaluator_worker.anomaly.settings import AnomalySettings
from evaluator_worker.anomaly.stream import advance
from pactstream import metrics
from pactstream.errors import Fatal, InvalidInput, Retryable
from pactstream.kafka import lag, topics
from pactstream.kafka.config import MAX_MESSAGE_BYTES
from pactstream.kafka.sessions import run_sessions
from pactstream.settings import KafkaSettings

GROUP: Final = "anomaly"
_LOOK_SECONDS = 0.2
_COMMIT_SECONDS = 1.0
_STOP_SECONDS = 30.0
_CHATTY = ("faust", "mode", "aiokafka")

_log = logging.getLogger(__name__)
_WINDOWS = metrics.counter("pactstream_anomaly_windows_total")
_SKIPPED = metrics.counter("pactstream_anomaly_windows_skipped_total")
_FOUND = metrics.counter("pactstream_anomalies_total")


class AnomalyApp:
    """Runs the app in the thread that calls `run`."""

    def __init__(self, settings: AnomalySettings) -> None:
        self._settings = settings
        self._ready = Event()

    @property
    def ready(self) -> bool:
        """Whether the app is a member of its group and has its tables back."""
        return self._ready.is_set()

    def run(self, stop: Event) -> None:
        """Work until `stop` is set. A failure starts over from the last committed offset."""
        run_sessions(GROUP, self._run_session, stop)

    def _run_session(self, stop: Event) -> None:
        try:
            asyncio.run(self._session(stop))
        finally:
            self._ready.clear()

    async def _session(self, stop: Event) -> None:
        app = make_app(self._settings)
        await app.start()
        try:
            while not stop.is_set():
                if app.crash_reason is not None:
                    raise Retryable(f"the app has failed: {app.crash_reason!r}") from app.crash_reason
                if not app.rebalancing and app.tables.recovery.completed.is_set():
                    self._ready.set()
                    self._show_lag(app.consumer.lags())
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            self._show_lag(())
            await asyncio.wait_for(app.stop(), _STOP_SECONDS)

    def _show_lag(self, lags: Iterable[tuple[str, int, int]]) -> None:
        lag.show(GROUP, self._settings.kafka_topic_prefix, lags)


def make_app(settings: AnomalySettings) -> Any:
    """The app, its topics, its table and its one agent. Topics are made by `pactstream topics apply`."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    hosts = settings.kafka_bootstrap.split(",")
    settings.anomaly_data_dir.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        settings.kafka_topic_prefix + GROUP,
        broker=";".join(f"aiokafka://{host}" for host in hosts),
        broker_credentials=credentials(settings),
        broker_client_id=settings.instance,
        broker_commit_interval=_COMMIT_SECONDS,
        broker_session_timeout=settings.kafka_session_seconds,
        broker_heartbeat_interval=settings.kafka_session_seconds / 5,
        broker_request_timeout=max(90.0, 2 * settings.kafka_session_seconds),
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=MAX_MESSAGE_BYTES,
        producer_max_request_size=MAX_MESSAGE_BYTES,
        datadir=settings.anomaly_data_dir,
        table_standby_replicas=settings.anomaly_standbys,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        key_serializer="raw",
        value_serializer="raw",
        store="memory://",
    )
    app.transport = WholeTransport(app.conf.broker_consumer, app)
    raw: Any = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    windows = app.topic(topics.name(settings, topics.WINDOWS), **raw)
    anomalies = app.topic(topics.name(settings, topics.ANOMALIES), **raw)
    changelog = app.topic(topics.name(settings, topics.ANOMALY_STATE), **raw)
    known = app.Table("anomaly-state", changelog_topic=changelog, key_type=bytes, value_type=bytes)

    @app.agent(windows, concurrency=1)
    async def watch(stream: Any) -> None:
        async for event in stream.events():
            _WINDOWS.inc()
            try:
                after = advance(known.get(event.key), event.key, event.value, settings.anomaly_level)
            except InvalidInput as error:
                _SKIPPED.inc()
                _log.error("a window at offset %s is skipped: %s", event.message.offset, error)
                continue
            for anomaly in after.anomalies:
                # Waits for the acknowledgement.
                sent = await anomalies.send(key=event.key, value=anomaly, partition=event.message.partition)
                await sent
                _FOUND.inc()
            if after.state is not None:
                known[event.key] = after.state

    return app


def credentials(settings: KafkaSettings) -> CredentialsT | None:
    """TLS and SASL as all other clients have them; None for neither."""
    protocol = settings.kafka_security_protocol
    context = _tls(settings) if protocol.endswith("SSL") else None
    if protocol.startswith("SASL_"):
        return faust.SASLCredentials(
            username=settings.kafka_sasl_username,
            password=settings.kafka_sasl_password.get_secret_value(),
            ssl_context=context,
            mechanism=settings.kafka_sasl_mechanism,
        )
    return None if context is None else faust.SSLCredentials(context)


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ssl_ca)
        if settings.kafka_ssl_certificate is not None:
            context.load_cert_chain(settings.kafka_ssl_certificate, settings.kafka_ssl_key)
    except (OSError, ssl.SSLError) as error:
        raise Fatal(f"the certificates for Kafka cannot be read: {error}") from error
    return context
