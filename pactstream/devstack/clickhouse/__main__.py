"""`python -m pactstream.devstack.clickhouse --data-dir DIR --port PORT`: serve until SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from pactstream.devstack.clickhouse.engine import Engine
from pactstream.devstack.clickhouse.server import Server

_DRAIN_SECONDS = 5.0


def main() -> None:
    """Serve until SIGTERM or SIGINT, then let running requests end and close the engine."""
    parser = argparse.ArgumentParser(
        description="ClickHouse's HTTP interface on loopback; never for production"
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        engine = Engine(arguments.data_dir)
        server = Server(arguments.port, engine)
    except (RuntimeError, OSError) as error:
        sys.exit(f"Error: {error}")
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    serving.start()
    stop.wait()
    server.shutdown()
    serving.join()
    server.server_close()
    server.drain(_DRAIN_SECONDS)
    engine.close()


if __name__ == "__main__":
    main()
