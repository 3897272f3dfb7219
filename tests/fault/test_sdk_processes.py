"""The ends and forks of processes: each event is sent once, by the process that recorded it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pactstream.journal.entry import read_line
from tests.sdk_gateway import AGENT, KEY, Gateway, answer, hang_up, hang_up_midway, serving

PRELUDE = f"""
import os, sys, threading
import pactstream
tel = pactstream.Telemetry(
    api_key="{KEY}", base_url=os.environ["GATEWAY"], agent_id=os.environ["AGENT"], flush_interval_seconds=60,
    retry_first_seconds=0.01, close_timeout_seconds=20, journal=os.environ.get("JOURNAL"),
)
"""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as running:
        yield running


def run(gateway: Gateway, script: str, *, expect: int = 0, **environment: str) -> str:
    """Run a script in a Python of its own, with every warning an error but the one about forking at all."""
    # Python 3.12 and later warn of any fork beside threads; surviving it is what is tested here.
    flags = ["-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *flags, "-c", PRELUDE + script],
        env={**os.environ, "GATEWAY": gateway.url, "AGENT": AGENT, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == expect, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def tools(gateway: Gateway) -> Counter[str]:
    return Counter(event["tool"] for event in gateway.events)


def test_the_end_of_the_process_sends_what_is_left(gateway: Gateway) -> None:
    run(gateway, "for n in range(30): tel.tool_call(tool=f't{n}')")
    assert tools(gateway) == Counter(f"t{n}" for n in range(30))


def test_an_uncaught_exception_does_too(gateway: Gateway) -> None:
    script = """
with tel.session("doomed"):
    tel.tool_call(tool="last")
    raise ValueError("the agent's own")
"""
    output = run(gateway, script, expect=1)
    assert "the agent's own" in output
    assert [event["type"] for event in gateway.events] == ["session_start", "tool_call", "session_end"]
    assert gateway.events[-1]["outcome"] == "failure"


def test_the_end_of_the_process_is_not_held_up_and_the_loss_is_told(gateway: Gateway) -> None:
    script = """
import time
tel.close(timeout=0)  # only so that atexit has nothing to do
late = pactstream.Telemetry(
    api_key="k", base_url="http://127.0.0.1:9", agent_id=os.environ["AGENT"], close_timeout_seconds=0.1,
)
for _ in range(30): late.tool_call(tool="t")
"""
    output = run(gateway, script)
    # 25 were on their way, 5 waited behind them; each is accounted for.
    assert "telemetry dropped (5): telemetry was closed before they could be delivered" in output
    assert "telemetry dropped (25): given up: no answer" in output


def test_an_unused_telemetry_starts_no_thread_and_sends_nothing(gateway: Gateway) -> None:
    assert run(gateway, "print(threading.active_count())") == "1\n"
    assert gateway.requests == []


def test_events_of_other_exit_handlers_are_sent(gateway: Gateway) -> None:
    # Handlers run last in, first out: this one before the SDK's own.
    run(gateway, "import atexit; atexit.register(lambda: tel.tool_call(tool='goodbye'))")
    assert tools(gateway) == Counter(["goodbye"])


def test_a_forked_child_sends_its_own_events_and_the_parent_its_own(gateway: Gateway, tmp_path: Path) -> None:
    script = """
tel.tool_call(tool="before")
pid = os.fork()
if pid == 0:
    tel.tool_call(tool="child")
    assert tel.stats().recorded == 1, tel.stats()
    assert tel.flush(20)
    assert tel.stats().accepted == 1, tel.stats()
    os._exit(0)
_, status = os.waitpid(pid, 0)
assert status == 0, status
tel.tool_call(tool="parent")
"""
    journal = tmp_path / "sent.jsonl"
    run(gateway, script, JOURNAL=str(journal))
    assert tools(gateway) == Counter(["before", "parent", "child"])
    # One journal for both; the child's line stood there before it was gone.
    noted = [str(read_line(line).event_id) for line in journal.read_bytes().splitlines()]
    assert noted == [event["eventId"] for event in gateway.events]
    assert len({event["sessionId"] for event in gateway.events}) == 2


def test_a_fork_in_the_middle_of_everything(gateway: Gateway) -> None:
    # Threads record while a batch is on its way on a kept-alive connection; four children fork off meanwhile.
    script = """
stop = threading.Event()
counts = [0] * 3
def record(thread):
    while not stop.is_set() and counts[thread] < 3000:
        tel.tool_call(tool=f"parent-{thread}-{counts[thread]}")
        counts[thread] += 1
threads = [threading.Thread(target=record, args=(n,)) for n in range(3)]
for t in threads: t.start()
children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        for n in range(60): tel.tool_call(tool=f"child-{child}-{n}")
        os._exit(0 if tel.close(20) and tel.stats().accepted == 60 else 3)
    children.append(pid)
for pid in children:
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
stop.set()
for t in threads: t.join()
assert tel.flush(30)
assert tel.stats().accepted == sum(counts), (tel.stats(), counts)
print(*counts)
"""
    counts = [int(count) for count in run(gateway, script).split()]
    expected = [f"parent-{thread}-{n}" for thread, count in enumerate(counts) for n in range(count)]
    expected += [f"child-{child}-{n}" for child in range(4) for n in range(60)]
    assert tools(gateway) == Counter(expected)


def test_delivery_imports_nothing(gateway: Gateway) -> None:
    # A fork during an import on another thread leaves the child with a lock that is never released.
    gateway.replies.extend([answer(503, {"error": "later"}), hang_up, hang_up_midway, answer(200, b"<html>")])
    script = """
before = set(sys.modules)
for _ in range(3):
    tel.tool_call(tool="t", params={"text": "x" * 10_000})
    assert tel.flush(20)
assert tel.stats().retries == 4
print(sorted(set(sys.modules) - before))
"""
    assert run(gateway, script).startswith("[]\n")


def test_a_receipt_of_the_parent_does_not_keep_a_child_waiting(gateway: Gateway) -> None:
    gateway.accepting.clear()
    script = """
receipt = tel.tool_call(tool="t")
waiting = threading.Thread(target=lambda: receipt.verdict(20))
waiting.start()
if os.fork() == 0:
    assert receipt.verdict(timeout=None) is None
    assert (receipt.status, receipt.error) == ("dropped", "recorded by the parent process, which sends it")
    os._exit(0)
_, status = os.wait()
assert status == 0, status
tel.close(0)
os._exit(0)
"""
    run(gateway, script)


def test_a_session_is_ended_by_the_process_that_began_it(gateway: Gateway) -> None:
    script = """
with tel.session("s"):
    pid = os.fork()
    if pid == 0:
        tel.tool_call(tool="child")
if pid == 0:
    tel.close()
    os._exit(0)
_, status = os.waitpid(pid, 0)
assert status == 0, status
"""
    run(gateway, script)
    assert Counter(event["type"] for event in gateway.events) == Counter(
        ["session_start", "tool_call", "session_end"]
    )
    assert {event["sessionId"] for event in gateway.events} == {"s"}


def test_workers_of_multiprocessing_send_what_they_flush(gateway: Gateway) -> None:
    script = """
import multiprocessing
def work(n):
    tel.tool_call(tool=f"worker-{n}")
    assert tel.flush(20)
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(work, range(4))
"""
    run(gateway, script)
    assert tools(gateway) == Counter(f"worker-{n}" for n in range(4))


def test_a_signal_handler_may_record(gateway: Gateway) -> None:
    # The handler interrupts the very thread that is inside the buffer's lock; it must not wait for itself.
    script = """
import signal
handled = 0
def handler(*_):
    global handled
    handled += 1
    tel.tool_call(tool="signal")
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for _ in range(4000): tel.tool_call(tool="main")
signal.setitimer(signal.ITIMER_REAL, 0)
assert handled > 10, handled
assert tel.flush(30)
assert tel.stats().accepted == 4000 + handled, (tel.stats(), handled)
"""
    run(gateway, script)
    assert tools(gateway)["main"] == 4_000
