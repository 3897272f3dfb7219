"""The Helm chart: lint, and what it makes of its values. Needs `helm`; `make tools` builds it from source."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from pactstream.kafka.rights import RIGHTS
from tests.built import tool
from tests.contract.test_compose import known_variables

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "pactstream"
HELM = tool("helm")
KEYS = {
    "PACTSTREAM_KEY_CONSOLE",
    "PACTSTREAM_KEY_LEDGER_ED25519",
    "PACTSTREAM_KEY_REPORT_ES256",
    "PACTSTREAM_KEY_REPORT_ED25519",
    "PACTSTREAM_KEY_WEBHOOK",
    "PACTSTREAM_KEY_PAGING",
}

pytestmark = pytest.mark.skipif(HELM is None, reason="helm is not installed: make tools")


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    command = [HELM, *arguments, "--kube-version", "1.31.0"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@cache
def rendered(*values: str) -> tuple[dict[str, Any], ...]:
    done = helm("template", "ps", str(CHART), *(word for value in values for word in ("--set", value)))
    assert done.returncode == 0, done.stderr
    return tuple(one for one in yaml.safe_load_all(done.stdout) if one)


def of_kind(kind: str, *values: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in rendered(*values) if one["kind"] == kind}


def workloads(*values: str) -> dict[str, dict[str, Any]]:
    found = {**of_kind("Deployment", *values), **of_kind("StatefulSet", *values)}
    return {name.removeprefix("ps-"): one["spec"]["template"]["spec"] for name, one in found.items()}


def environment(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in pod["containers"][0]["env"]}


def test_lint() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_workload_for_each_service_with_rights_of_its_own() -> None:
    assert set(workloads()) == set(RIGHTS)
    for service, pod in workloads().items():
        assert environment(pod)["PACTSTREAM_KAFKA_SASL_USERNAME"]["value"] == f"pactstream-{service}"
        assert importlib.util.find_spec(f"{pod['containers'][0]['args'][0]}.__main__"), service


def test_every_variable_is_one_that_the_services_read() -> None:
    used = {name for pod in workloads().values() for name in environment(pod)}
    assert used - known_variables() == KEYS


def test_a_key_is_with_the_service_that_signs_with_it_and_no_other() -> None:
    holders = {
        key: {service for service, pod in workloads().items() if key in environment(pod)} for key in KEYS
    }
    assert holders == {
        "PACTSTREAM_KEY_CONSOLE": {"console"},
        "PACTSTREAM_KEY_LEDGER_ED25519": {"sealer"},
        "PACTSTREAM_KEY_REPORT_ES256": {"oracle"},
        "PACTSTREAM_KEY_REPORT_ED25519": {"oracle"},
        "PACTSTREAM_KEY_WEBHOOK": {"oracle", "push", "external"},
        "PACTSTREAM_KEY_PAGING": {"gateway", "paging"},
    }


def test_traces_go_nowhere_unless_they_are_wanted() -> None:
    assert of_kind("StatefulSet")["ps-otlp"]["spec"]["replicas"] == 0
    wanted = of_kind("StatefulSet", "services.otlp.replicas=1")["ps-otlp"]["spec"]
    assert wanted["replicas"] == 1
    where = environment(wanted["template"]["spec"])["PACTSTREAM_OTLP_DESTINATIONS"]
    assert where["valueFrom"] == {"secretKeyRef": {"name": "pactstream-otlp", "key": "destinations"}}


def test_evaluators_are_asked_where_they_are_named_and_nothing_else_is_reached() -> None:
    assert of_kind("StatefulSet")["ps-external"]["spec"]["replicas"] == 0
    asks = helm("template", "ps", str(CHART), "--set", "services.external.replicas=1")
    assert asks.returncode != 0
    assert "/services/external/evaluators" in asks.stderr  # somebody must be named
    named = {
        f"0196c9a4-5555-7000-8000-00000000000{number}": {kind: where}
        for number, kind, where in (
            (1, "url", "https://evaluator.example/pactstream"),
            (2, "url", "https://another.example:8443/"),
            (3, "plugin", "round_amounts"),
        )
    }
    given = (
        "services.external.replicas=2",
        "secrets.evaluatorKey=keys-of-evaluators",
        *(
            f"services.external.evaluators.{issuer}.{kind}={where}"
            for issuer, place in named.items()
            for kind, where in place.items()
        ),
    )
    workload = of_kind("StatefulSet", *given)["ps-external"]["spec"]
    assert workload["replicas"] == 2
    pod = workload["template"]["spec"]
    variables = environment(pod)
    file = Path(variables["PACTSTREAM_EXTERNAL_EVALUATORS"]["value"])
    key = variables["PACTSTREAM_KEY_EVALUATOR_ED25519"]["valueFrom"]
    assert key == {"secretKeyRef": {"name": "keys-of-evaluators", "key": "evaluator.ed25519.pem"}}
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == str(file.parent)]
    (volume,) = [one for one in pod["volumes"] if one["name"] == mount["name"]]
    assert json.loads(of_kind("ConfigMap", *given)[volume["configMap"]["name"]]["data"][file.name]) == named
    egress = of_kind("NetworkPolicy", *given)["ps-external"]["spec"]["egress"]
    assert {port["port"] for rule in egress for port in rule["ports"]} == {53, 9093, 443, 8443}
    assert "ps-external" in of_kind("PodDisruptionBudget", *given)
    # Who is named is read at the start: another list, another pod.
    fewer = of_kind("StatefulSet", *given[:-1])["ps-external"]["spec"]
    assert fewer["template"]["metadata"]["annotations"] != workload["template"]["metadata"]["annotations"]


def test_secrets_are_references() -> None:
    for service, pod in workloads().items():
        for name, one in environment(pod).items():
            if any(word in name for word in ("PASSWORD", "SECRET", "KEY_", "SHA256")) and "SSL" not in name:
                assert "valueFrom" in one, (service, name)


def test_containers_can_do_little() -> None:
    pods = [*workloads().values(), of_kind("Job")["ps-setup"]["spec"]["template"]["spec"]]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_workers_come_back_under_their_names_with_their_state() -> None:
    workers = of_kind("StatefulSet")
    assert {name.removeprefix("ps-") for name in workers} == {
        "evaluator",
        "sealer",
        "aggregator",
        "push",
        "paging",
        "behaviour",
        "anomaly",
        "otlp",
        "external",
    }
    (claim,) = workers["ps-evaluator"]["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "state"
    instance = environment(workloads()["evaluator"])["PACTSTREAM_INSTANCE"]
    assert instance["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_probes_and_resources() -> None:
    for pod in workloads().values():
        (container,) = pod["containers"]
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert {"requests", "limits"} <= set(container["resources"])
    assert workloads()["gateway"]["containers"][0]["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    plain = workloads("secrets.tls=")
    assert plain["gateway"]["containers"][0]["readinessProbe"]["httpGet"]["scheme"] == "HTTP"


def test_network_of_the_oracle_and_of_push() -> None:
    policies = of_kind("NetworkPolicy")
    ports = {
        name.removeprefix("ps-"): {port["port"] for rule in one["spec"]["egress"] for port in rule["ports"]}
        for name, one in policies.items()
    }
    assert ports["oracle"] == {53, 9093, 8443}
    assert ports["push"] == {53, 9093, 8443, 443}
    assert ports["console"] == {53, 9093, 8443, 8080}
    assert ports["otlp"] == {53, 9093, 443, 4318}
    assert ports["gateway"] == {53, 9093, "preflight"}
    asked = policies["ps-evaluator"]["spec"]["ingress"][-1]
    (peer,) = asked["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"


def test_scaling_on_lag() -> None:
    values = ("autoscaling.enabled=true", "kafka.topicPrefix=eu.")
    scaled = of_kind("ScaledObject", *values)
    trigger = scaled["ps-evaluator"]["spec"]["triggers"][0]["metadata"]
    assert (trigger["consumerGroup"], trigger["topic"]) == ("eu.evaluator", "eu.telemetry.batches")
    assert {name.removeprefix("ps-") for name in scaled} == {"evaluator", "sealer", "aggregator"}
    # The autoscaler decides on the number: a fixed one would undo it at each upgrade.
    assert "replicas" not in of_kind("StatefulSet", *values)["ps-evaluator"]["spec"]


def test_pods_are_spread_over_zones_and_hosts() -> None:
    for service, pod in workloads().items():
        keys = {one["topologyKey"] for one in pod["topologySpreadConstraints"]}
        assert keys == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}, service
        for one in pod["topologySpreadConstraints"]:
            assert one["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == service


def test_disruption_budgets_and_monitors() -> None:
    assert all(one["spec"]["maxUnavailable"] == 1 for one in of_kind("PodDisruptionBudget").values())
    monitors = of_kind("ServiceMonitor", "serviceMonitor.enabled=true")
    assert {name.removeprefix("ps-") for name in monitors} == set(RIGHTS)
    # The alert rules know the jobs by the services' names.
    services = of_kind("Service")
    for name, one in monitors.items():
        label = one["spec"]["jobLabel"]
        assert services[name]["metadata"]["labels"][label] == name.removeprefix("ps-")


def test_setup_is_the_operators() -> None:
    job = of_kind("Job")["ps-setup"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    users = {one["name"]: one.get("value") for one in container["env"]}
    assert users["PACTSTREAM_KAFKA_SASL_USERNAME"] == "pactstream-operator"
    assert "pactstream topics grant --user-prefix 'pactstream-'" in container["args"][0]


@pytest.mark.parametrize(
    "value", ["kafka.bootstrap=nowhere", "deployment=Ünï", "services.gateway.env.PATH=x", "imaage.tag=1"]
)
def test_wrong_values_are_refused(value: str) -> None:
    done = helm("template", "ps", str(CHART), "--set", value)
    assert done.returncode != 0
    assert any(word in done.stderr for word in value.partition("=")[0].split("."))
