"""The compose file: what it starts is what the embedded stack starts, and nothing is looser than it must be."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.built import tool
from tests.settings_table import CLASSES

DEPLOY = Path(__file__).parents[2] / "deploy"
FILE = DEPLOY / "compose.yaml"
# Read elsewhere than in a settings class, or by the image itself.
OTHERS = {"PACTSTREAM_ADMIN_KEY"}


def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


def services() -> dict[str, Any]:
    found: dict[str, Any] = document()["services"]
    return found


def ours() -> dict[str, Any]:
    return {name: one for name, one in services().items() if one["image"].startswith("pactstream:")}


def known_variables() -> set[str]:
    return {f"PACTSTREAM_{field.upper()}" for cls in CLASSES for field in cls.model_fields}


def test_every_variable_is_one_that_the_services_read() -> None:
    used = {name for one in ours().values() for name in one.get("environment", {})}
    assert used - known_variables() == OTHERS


def test_commands_are_there() -> None:
    modules = {one["command"][0] for name, one in ours().items() if name != "setup"}
    assert {"ingest_gateway", "evaluator_worker", "ledger_sealer", "score_aggregator", "oracle_api"} <= modules
    for module in modules:
        assert importlib.util.find_spec(f"{module}.__main__"), module


def test_nothing_is_latest_and_nothing_is_published_beyond_loopback() -> None:
    for name, one in services().items():
        tag = one["image"].rpartition(":")[2]
        assert tag not in {"latest", one["image"]}, name
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", [])), name


def test_our_containers_can_do_little() -> None:
    for name, one in ours().items():
        assert one["read_only"], name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name


def test_the_demo_key_is_the_one_whose_hash_the_gateway_has() -> None:
    key = services()["atlas"]["environment"]["PACTSTREAM_ADMIN_KEY"].removeprefix("${ADMIN_KEY:-")[:-1]
    digest = hashlib.sha256(key.encode()).hexdigest()
    assert services()["gateway"]["environment"]["PACTSTREAM_GATEWAY_ADMIN_KEY_SHA256"].endswith(f":-{digest}}}")


def test_mounted_files_are_in_the_repository() -> None:
    mounts = [mount for one in services().values() for mount in one.get("volumes", [])]
    named = document()["volumes"]
    for mount in mounts:
        source = mount.partition(":")[0]
        assert source in named or (FILE.parent / source).exists(), mount


def test_what_watches_is_there_and_reaches_what_it_watches() -> None:
    """Prometheus scrapes each service, by the jobs that the rules know; Grafana gets what its files name."""
    assert {"kafka", "clickhouse", "prometheus", "alertmanager", "grafana"} <= set(services())
    grafana = services()["grafana"]
    read = set(
        re.findall(
            r"\$(PACTSTREAM_\w+)", (DEPLOY / "grafana/provisioning/datasources/clickhouse.yml").read_text()
        )
    )
    assert read == {name for name in grafana["environment"] if name.startswith("PACTSTREAM_")}
    alone, here = (
        yaml.safe_load((DEPLOY / "prometheus" / f"{one}.yml").read_text()) for one in ("prometheus", "compose")
    )
    of_agents = {"sidecar"}
    assert targets(here) == {
        f"{job}:{target.partition(':')[2]}" for job, target in jobs(alone) if job not in of_agents
    }
    assert {target.partition(":")[0] for target in targets(here)} == set(ours()) - {"setup", "atlas"}
    others = ("rule_files", "global")
    assert [alone[one] for one in others] == [here[one] for one in others]


def always(found: dict[str, Any]) -> dict[str, Any]:
    """Those that need no `--profile`."""
    return {name: one for name, one in found.items() if not one.get("profiles")}


def jobs(config: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["job_name"], one["static_configs"][0]["targets"][0]) for one in config["scrape_configs"]]


def targets(config: dict[str, Any]) -> set[str]:
    return {target for _, target in jobs(config)}


def test_compose_itself_accepts_it() -> None:
    client = tool("docker-compose")
    if client is None:
        pytest.skip("docker-compose is not installed: make tools")
    every = {profile for one in services().values() for profile in one.get("profiles", ())}
    for profiles, expected in ((set(), always(services())), (every, services())):
        chosen = [word for profile in profiles for word in ("--profile", profile)]
        command = [client, "-f", str(FILE), *chosen, "config", "--format", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        resolved = json.loads(done.stdout)["services"]
        assert set(resolved) == set(expected)
    # Anchors were merged, and defaults filled in: what is written here is what a container gets.
    for name in ours():
        assert resolved[name]["read_only"], name
        assert resolved[name]["depends_on"].keys() & {"setup", "kafka"} or name == "atlas", name
    assert re.findall(r"\$\{\w+", json.dumps(resolved)) == []
