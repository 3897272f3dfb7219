"""The Faust app's connection: TLS and SASL as every other client has them."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from evaluator_worker.anomaly.app import credentials, make_app
from evaluator_worker.anomaly.settings import AnomalySettings
from pactstream.errors import Fatal
from pactstream.settings import KafkaSettings


def kafka(protocol: Any, **fields: Any) -> KafkaSettings:
    return KafkaSettings(kafka_security_protocol=protocol, **fields)


def test_without_tls_and_sasl_there_are_no_credentials() -> None:
    assert credentials(kafka("PLAINTEXT")) is None


def test_sasl_over_tls_checks_the_broker_s_name() -> None:
    ours = kafka("SASL_SSL", kafka_sasl_username="me", kafka_sasl_password=SecretStr("word"))
    found: Any = credentials(ours)
    assert (found.username, found.password, found.mechanism.value) == ("me", "word", "SCRAM-SHA-512")
    assert found.protocol.value == "SASL_SSL"
    assert found.ssl_context.check_hostname
    assert found.ssl_context.verify_mode is ssl.CERT_REQUIRED
    assert "word" not in repr(found)


def test_sasl_without_tls_has_no_context() -> None:
    found: Any = credentials(kafka("SASL_PLAINTEXT", kafka_sasl_mechanism="PLAIN"))
    assert (found.protocol.value, found.mechanism.value) == ("SASL_PLAINTEXT", "PLAIN")
    assert found.ssl_context is None


def test_a_certificate_that_is_none_stops_the_process(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="certificates for Kafka"):
        credentials(kafka("SSL", kafka_ssl_ca=tmp_path / "missing.pem"))


def test_the_app_declares_no_topics_and_has_the_prefix(tmp_path: Path) -> None:
    ours = AnomalySettings(
        kafka_bootstrap="127.0.0.1:1,127.0.0.1:2",
        kafka_topic_prefix="x.",
        anomaly_data_dir=tmp_path,
        anomaly_standbys=2,
    )
    app = make_app(ours)
    assert app.conf.id == "x.anomaly"
    assert [str(one) for one in app.conf.broker] == ["aiokafka://127.0.0.1:1", "aiokafka://127.0.0.1:2"]
    assert not app.conf.topic_allow_declare
    assert app.conf.table_standby_replicas == 2
    (table,) = app.tables.values()
    assert table.changelog_topic.get_topic_name() == "x.anomaly.state"
