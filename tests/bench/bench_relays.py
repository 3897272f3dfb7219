"""What sidecar and OpenTelemetry relay cost: `python -m tests.bench.bench_relays [SECONDS]`.

CPU time of the sidecar's process while it takes batches over HTTP, keeps each on disk and sends it on to a
gateway that says yes; and of this one while it makes OTLP requests of judged events.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from evaluator_worker.otlp.collector import Collector
from evaluator_worker.otlp.sessions import Sessions
from evaluator_worker.otlp.spans import spans_of
from pactstream.devstack.ports import answers, free_port
from pactstream.settings import environment
from tests.bench.bench_gateway import EVENTS_A_REQUEST, loaded
from tests.bench.bench_sdk import gateway_port
from tests.bench.figures import race, report
from tests.evaluator_tools import call
from tests.gateway_tools import EVENTS, body
from tests.gateway_tools import call as sent
from tests.otlp_peer import Judge
from tests.sdk_gateway import KEY
from tests.stack import eventually

TOKEN = "a-token-of-this-machine"
BODIES = 50


def messages() -> list[bytes]:
    """Whole requests, ready to be written to a socket."""
    made = []
    for _ in range(BODIES):
        content = body(*(sent(eventId=str(uuid.uuid4())) for _ in range(EVENTS_A_REQUEST)))
        head = (
            f"POST {EVENTS} HTTP/1.1\r\nHost: sidecar\r\nX-Pact-Key: {TOKEN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        made.append(head.encode() + content)
    return made


def sidecar(gateway: int, directory: Path, seconds: float) -> float:
    """Events per CPU-second of the sidecar's process, taken and sent on."""
    port = free_port()
    variables = {
        "PACTSTREAM_API_KEY": KEY,
        "PACTSTREAM_GATEWAY_URL": f"http://127.0.0.1:{gateway}",
        "PACTSTREAM_SIDECAR_TOKEN": TOKEN,
        "PACTSTREAM_SIDECAR_PORT": str(port),
        "PACTSTREAM_SIDECAR_DIR": str(directory),
    }
    command = [sys.executable, "-m", "pactstream.sidecar"]
    with subprocess.Popen(command, env=environment() | variables, stderr=subprocess.DEVNULL) as process:
        eventually(lambda: answers(port), timeout=30)
        rate = loaded("sidecar", process.pid, port, messages(), seconds)
        process.terminate()
    return rate


def otlp() -> float:
    """Microseconds an event, from a decoded batch to a request's bytes, before they are compressed."""
    batch = Judge().batch(*(call() for _ in range(EVENTS_A_REQUEST)))
    collector = Collector("http://127.0.0.1:1", {}, "bench.example", seconds=1, ca=None)

    def export() -> None:
        spans = spans_of(batch, Sessions(10, 1), offset=0, private=False)
        collector._request(spans)

    return race({"otlp": export}, calls=20)["otlp"] / EVENTS_A_REQUEST


def main() -> None:
    """Measure for five seconds, or as many as the first argument says."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    with gateway_port() as gateway, tempfile.TemporaryDirectory() as directory:
        report("sidecar, events per CPU-second", f"{sidecar(gateway, Path(directory), seconds):,.0f}")
    report("OTLP out, µs of CPU an event", f"{otlp():.1f}")


if __name__ == "__main__":
    main()
