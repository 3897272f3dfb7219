"""OpenTelemetry in: `POST /v1/traces` (OTLP over HTTP), its spans as the four events."""
