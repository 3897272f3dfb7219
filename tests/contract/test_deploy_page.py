"""Commands of the pages that want an engine or a cluster: what can be known of them without."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.built import tool
from tests.contract.test_chart import HELM, of_kind, workloads
from tests.contract.test_compose import services
from tests.docs_commands import PAGES, ROOT, Command, commands


def of(*words: str) -> list[Command]:
    found = [one for one in commands() if one.words[: len(words)] == words]
    assert found, words
    return found


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def test_compose_reads_the_file_and_knows_the_options() -> None:
    client = tool("docker-compose")
    if client is None:
        pytest.skip("docker-compose is not installed: make tools")
    for command in of("docker", "compose"):
        words = list(command.words[2:])
        verb = next(at for at, word in enumerate(words) if re.fullmatch("up|down|run|logs|ps", word))
        read = run(client, *words[:verb], "config", "--quiet")
        assert (read.returncode, read.stderr) == (0, ""), command
        # With `--help` a client reads its words, refuses those that it does not know, and asks no engine.
        assert run(client, *words, "--help").returncode == 0, command
    assert run(client, "up", "--no-such-option", "--help").returncode != 0


def test_profiles_that_pages_name_are_those_of_the_file() -> None:
    named = {one for page in PAGES for one in re.findall(r"--profile (\w+)", page.read_text(encoding="utf-8"))}
    assert named == {profile for one in services().values() for profile in one.get("profiles", ())}


@pytest.mark.skipif(HELM is None, reason="helm is not installed: make tools")
def test_helm_renders_what_would_be_installed(tmp_path: Path) -> None:
    (values,) = re.findall(
        r"(?m)^3\. Values: (.+?)\. The rest", (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    )
    given = {
        "deployment": "acme.example",
        "kafka.bootstrap": "broker.acme.example:9093",
        "clickhouse.host": "tables.acme.example",
    }
    assert [one.strip("`") for one in values.split(", ")] == list(given)
    file = tmp_path / "values.yaml"
    nested: dict[str, Any] = {}
    for name, value in given.items():
        *parents, last = name.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    file.write_text(yaml.safe_dump(nested))
    for command in of("helm", "install"):
        words = [str(file) if word == "values.yaml" else word for word in command.words[2:]]
        done = run(str(HELM), "template", *words, "--kube-version", "1.31.0")
        assert done.returncode == 0, (command, done.stderr)
        for value in given.values():
            assert value in done.stdout, value


@pytest.mark.skipif(HELM is None, reason="helm is not installed: make tools")
def test_secrets_that_the_page_makes_are_those_that_the_chart_reads() -> None:
    made: dict[str, set[str]] = {}
    for command in of("kubectl", "create", "secret", "generic"):
        name, *files = command.words[4:]
        keys = {one.partition("=")[2].rpartition("/")[2] for one in files if one.startswith("--from-file=")}
        keys |= {one.split("=")[1] for one in files if one.startswith("--from-literal=")}
        made[name] = keys
    read: dict[str, set[str]] = {}
    wanted: set[str] = set()
    setup = of_kind("Job")["ps-setup"]["spec"]["template"]["spec"]
    for service, pod in {**workloads(), "setup": setup}.items():
        for one in pod["containers"][0]["env"]:
            reference = one.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                read.setdefault(reference["name"], set()).add(reference["key"])
                if service not in {"otlp", "external"}:
                    wanted.add(reference["name"])
        for volume in pod["volumes"]:
            if "secret" in volume:
                wanted.add(volume["secret"]["secretName"])
    tls = {"pactstream-tls", "pactstream-preflight-tls"}  # of which the page speaks in prose
    assert wanted - tls == set(made)
    for name, keys in made.items():
        # Of the users' passwords the page shows one, with an ellipsis for the others'.
        if name in {"pactstream-kafka", "pactstream-clickhouse"}:
            assert keys < read[name], name
        else:
            assert keys == read.get(name, {"ca.crt"}), name
