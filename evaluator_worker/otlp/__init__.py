"""OpenTelemetry out: judged sessions as OTLP traces, to collectors that the operator names."""
