"""Starts the gateway: `python -m ingest_gateway`."""

from __future__ import annotations

import sys

from ingest_gateway import wiring
from ingest_gateway.app import create_app
from ingest_gateway.settings import GatewaySettings
from pactstream import logs, server, settings, tracing, worker
from pactstream.errors import Fatal
from pactstream.kafka import reach


def main() -> int:
    """Serve until SIGTERM; 0 after a clean stop, 3 when it cannot go on."""
    try:
        ours = settings.load(GatewaySettings)
        logs.configure("ingest_gateway", ours.log_level)
        tracing.start(ours, "ingest_gateway")
        reach.check(ours)
        with server.metrics(ours.metrics_host, ours.gateway_metrics_port):
            app = create_app(wiring.build(ours), ours)
            return server.serve(app, ours.bind_host, ours.gateway_port, tls=server.tls_of(ours))
    except Fatal as error:
        sys.stderr.write(f"ingest_gateway: {error}\n")
        return worker.EXIT_FATAL


if __name__ == "__main__":
    sys.exit(main())
