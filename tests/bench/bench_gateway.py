"""What the gateway costs: `python -m tests.bench.bench_gateway [seconds]`.

A gateway process on a real Kafka (embedded, or as `PACTSTREAM_TEST_STACK` says) takes batches of 25 tool calls,
each judged inline, from eight connections; every answer has waited for `acks=all`. Counted is the gateway's own
CPU time, user and system, its Kafka client's threads included: other processes on the machine do not change it
much. Latencies are by the clock on the wall and do change with them.

The peer is an OpenTelemetry collector that only passes on: OTLP/HTTP JSON in, 25 spans a request, Kafka with
`acks=all` out, one core (`GOMAXPROCS=1`). `make tools` builds it with Go; without it no ratio is printed.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import psutil

from pactstream.devstack.ports import answers, free_port
from pactstream.ids import uuid7
from pactstream.pacts import templates
from tests.bench.figures import report
from tests.built import tool
from tests.gateway_tools import EVENTS, body
from tests.integration.test_gateway_live import Acme, Process, gateway, register
from tests.kafka_tools import create_topics, service_settings
from tests.stack import choose_mode, docker_answers, eventually, running

EVENTS_A_REQUEST = 25
CONNECTIONS = 8
BODIES = 200
WARM_UP_SECONDS = 2.0
UNLIMITED = {"GATEWAY_EVENTS_PER_SECOND": "10000000", "GATEWAY_EVENTS_BURST": "10000000"}


def requests(acme: Acme, tool: str, params: dict[str, object]) -> list[bytes]:
    """Whole requests, ready to be written to a socket."""
    made = []
    for _ in range(BODIES):
        calls = (
            acme.call(tool=tool, params=params, eventId=str(uuid7()), latencyMs=142, metadata={"model": "m-1"})
            for _ in range(EVENTS_A_REQUEST)
        )
        content = body(*calls)
        head = (
            f"POST {EVENTS} HTTP/1.1\r\nHost: gateway\r\nX-Pact-Key: {acme.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        made.append(head.encode() + content)
    return made


async def talk(port: int, messages: list[bytes], until: float, seconds: list[float]) -> None:
    """One connection, one request after another; the time each took is added to `seconds`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    at = 0
    while time.monotonic() < until:
        began = time.monotonic()
        writer.write(messages[at % len(messages)])
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise AssertionError(head.decode())
        length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length"))
        await reader.readexactly(int(length.partition(b":")[2]))
        seconds.append(time.monotonic() - began)
        at += 1
    writer.close()
    await writer.wait_closed()


def load(port: int, messages: list[bytes], duration: float) -> list[float]:
    """All connections for `duration` seconds; the time of each request."""
    seconds: list[float] = []

    async def all_of_them() -> None:
        until = time.monotonic() + duration
        await asyncio.gather(
            *(talk(port, messages[at:] + messages[:at], until, seconds) for at in range(CONNECTIONS))
        )

    asyncio.run(all_of_them())
    return seconds


def measure(process: Process, duration: float) -> float:
    """Register, warm up, load, print; events per CPU-second."""
    acme = register(process)
    document = templates.load("treasury") | {"agentId": acme.atlas}
    put = process.client.put(f"/api/v1/pacts/{acme.pact}", json=document, headers=acme.headers)
    if put.status_code != 201:
        raise AssertionError(put.text)
    passing = next(one for one in templates.examples("treasury") if one.valid)
    messages = requests(acme, passing.tool, passing.params)
    return loaded("gateway", process.popen.pid, process.port, messages, duration)


def loaded(name: str, pid: int, port: int, messages: list[bytes], duration: float) -> float:
    """Warm up, load, print; events per CPU-second of the process."""
    load(port, messages, WARM_UP_SECONDS)
    measured = psutil.Process(pid)
    before = measured.cpu_times()
    began = time.monotonic()
    seconds = load(port, messages, duration)
    wall = time.monotonic() - began
    after = measured.cpu_times()
    cpu = after.user + after.system - before.user - before.system
    events = len(seconds) * EVENTS_A_REQUEST
    cuts = statistics.quantiles(seconds, n=100)
    print(f"{EVENTS_A_REQUEST} events a request, {len(messages[0])} bytes, {CONNECTIONS} connections, acks=all")
    print(f"{events / cpu:10,.0f} events per CPU-second of the {name}")
    print(f"{1e6 * cpu / len(seconds):10,.0f} µs of CPU a request ({100 * cpu / wall:.0f} % of one core)")
    print(
        f"{events / wall:10,.0f} events/s; a request p50 {1e3 * cuts[49]:.1f} ms, p99 {1e3 * cuts[98]:.1f} ms"
    )
    return events / cpu


def spans() -> list[bytes]:
    """What a tracer would export of as many tool calls, as OTLP/HTTP JSON requests."""
    attributes = {"tool": "transfer_funds", "session": "s-1", "agent": "76cf31d6-ffe3-4a5c-8748-021114aa8066"}
    params = next(one for one in templates.examples("treasury") if one.valid).params
    texts = attributes | {name: str(value) for name, value in params.items()} | {"outcome": "success"}
    pairs = [{"key": key, "value": {"stringValue": value}} for key, value in texts.items()]
    made = []
    for _ in range(BODIES):
        calls = [
            {
                "traceId": os.urandom(16).hex(),
                "spanId": os.urandom(8).hex(),
                "name": "tool_call",
                "kind": 1,
                "startTimeUnixNano": "1778666400000000000",
                "endTimeUnixNano": "1778666400142000000",
                "attributes": pairs,
            }
            for _ in range(EVENTS_A_REQUEST)
        ]
        content = json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": calls}]}]}).encode()
        head = (
            "POST /v1/traces HTTP/1.1\r\nHost: collector\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        made.append(head.encode() + content)
    return made


def measure_peer(binary: str, bootstrap: str, topic: str, directory: Path, duration: float) -> float:
    """The same of a collector; spans per CPU-second."""
    port = free_port()
    config = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {
            "kafka": {
                "brokers": [bootstrap],
                "traces": {"topic": topic},
                "producer": {"required_acks": -1, "compression": "zstd"},
                "sending_queue": {"enabled": False},
            }
        },
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["kafka"]}},
        },
    }
    path = directory / "collector.json"
    path.write_text(json.dumps(config))
    with subprocess.Popen(
        [binary, "--config", str(path)], env={**os.environ, "GOMAXPROCS": "1"}, stderr=subprocess.DEVNULL
    ) as collector:
        eventually(lambda: answers(port), timeout=30)
        rate = loaded("collector", collector.pid, port, spans(), duration)
        collector.terminate()
    return rate


def main() -> None:
    """Measure for ten seconds, or as many as the first argument says."""
    duration = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as directory:
        mode = choose_mode(os.environ, docker_answers)
        with running(mode, Path(directory)) as stack:
            kafka = service_settings(stack.kafka_bootstrap, f"bench{uuid4().hex[:8]}.")
            create_topics(kafka)
            with gateway(kafka, Path(directory), **UNLIMITED) as process:
                ours = measure(process, duration)
            what, figure = "gateway, events per CPU-second", f"{ours:,.0f}"
            binary = tool("otelcol")
            if not binary:
                report(what, figure, "no collector", target="≥ 1 ×")
                return
            topic = f"{kafka.kafka_topic_prefix}telemetry.batches"
            theirs = measure_peer(binary, stack.kafka_bootstrap, topic, Path(directory), duration)
            report(what, figure, f"OpenTelemetry collector {theirs:,.0f} spans", ours / theirs, "≥ 1 ×")


if __name__ == "__main__":
    main()
