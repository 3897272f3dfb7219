"""Sessions of a consumer group's member, one after another: what every loop does when one fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event

from confluent_kafka import KafkaException
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_when_event_set,
    wait_random_exponential,
)
from tenacity.nap import sleep_using_event

from pactstream.errors import Backpressure, Retryable
from pactstream.kafka import metrics
from pactstream.kafka.faults import classify

_log = logging.getLogger(__name__)


def run_sessions(group: str, session: Callable[[Event], None], stop: Event) -> None:
    """Call `session(stop)` until it returns because `stop` is set.

    A session that fails with something that passes (`Retryable`, `Backpressure`, a client's error that is
    neither of configuration nor of rights) is followed by another after a growing pause; each begins at the
    last commit.

    Raises:
        Fatal: going on makes no sense; the message says what to do.
    """
    attempts = Retrying(
        retry=retry_if_exception_type((Retryable, Backpressure)),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        sleep=sleep_using_event(stop),
        stop=stop_when_event_set(stop),
        before_sleep=lambda state: _say_why(group, state),
        reraise=True,
    )
    try:
        attempts(_classified, session, stop)
    except (Retryable, Backpressure):
        if not stop.is_set():
            raise


def _classified(session: Callable[[Event], None], stop: Event) -> None:
    try:
        session(stop)
    except KafkaException as error:
        raise classify(error) from error
    except SystemError as error:
        # The client raises its fatal error (fenced), then calls back for each record it has not delivered:
        # Python reports that as a fault of the callback, and the client's error as the cause.
        cause = error.__cause__
        while isinstance(cause, SystemError):
            cause = cause.__cause__
        if not isinstance(cause, KafkaException):
            raise
        raise classify(cause) from error


def _say_why(group: str, state: RetryCallState) -> None:
    metrics.RESTARTS.labels(group).inc()
    error = state.outcome.exception() if state.outcome else None
    _log.warning("%s: begins again from the last commit: %s", group, error)
