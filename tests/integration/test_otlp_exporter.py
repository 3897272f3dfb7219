"""The real OpenTelemetry exporter, over HTTP, at the real gateway, with a real Kafka behind it."""

from __future__ import annotations

from pathlib import Path

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from pactstream.devstack.services import Services
from tests.otlp_tools import Recorder, agent_run, failing_tool
from tests.pipeline import new_agent, pipeline, rows_of
from tests.stack import ClickHouseAddress, eventually


def test_traces_become_judged_events_on_the_ledger_once(
    kafka_bootstrap: str, clickhouse_database: ClickHouseAddress, topic_prefix: str, tmp_path: Path
) -> None:
    with pipeline(kafka_bootstrap, clickhouse_database, topic_prefix, tmp_path) as services:
        agent = new_agent(services)
        recorder = Recorder({"pactstream.agent.id": agent.agent_id, "pactstream.pact.id": agent.pact_id})
        agent_run(recorder.tracer)
        failing_tool(recorder.tracer)
        # Twice, as after an answer that was lost.
        assert [export(services, agent.api_key, recorder) for _ in range(2)] == [SpanExportResult.SUCCESS] * 2
        eventually(lambda: len(rows_of(services, agent.agent_id)) >= 5, timeout=30)
        rows = rows_of(services, agent.agent_id)
        assert sorted(kind for _, _, kind, _ in rows) == [
            "response",
            "session_end",
            "session_start",
            "tool_call",
            "tool_call",
        ]


def export(services: Services, key: str, recorder: Recorder) -> SpanExportResult:
    exporter = OTLPSpanExporter(
        endpoint=f"{services.gateway_url}/v1/traces",
        headers={"X-Pact-Key": key},
        compression=Compression.Gzip,
    )
    try:
        return exporter.export(recorder.spans)
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]
