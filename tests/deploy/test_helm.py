"""The chart: what it makes of values, and that a server takes what it makes."""

from __future__ import annotations

import json
import socket
import tomllib
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml
from certificates import Authority
from exported import Exported
from kubelet import CHART, Manifest, Pod, helm, only, render
from monitoring import FOLDER, JOB

from megatick_client import Client, ServerUnavailable, Tls, Unauthenticated
from megatick_server.launcher import ServeOptions
from megatick_server.launcher.keys import CALLER_KEY, GRPC_PREFIX

PLAIN: Final[dict[str, Any]] = {
    "image": "registry.example/megatick:0.1.0",
    "repository": {"image": "registry.example/sentiment:2026-11-28"},
}
GUARDED: Final[dict[str, Any]] = {
    **PLAIN,
    "repository": {"claim": "models", "path": "out"},
    "tls": {"secret": "certificate", "clientCa": "callers"},
    "keys": {"caller": "caller", "admin": "admin"},
    "audit": {"claim": "records", "keySecret": "sealing", "onFailure": "reply"},
}
ALL: Final[dict[str, Any]] = {
    **GUARDED,
    "replicas": 3,
    "extraArgs": ["--cached-texts=100", "--trace-to=http://collector:4318/v1/traces"],
    "service": {
        "type": "LoadBalancer",
        "annotations": {"networking.gke.io/load-balancer-type": "Internal"},
    },
    "autoscaling": {"maxReplicas": 9},
    "networkPolicy": {
        "enabled": True,
        "callers": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "egress": [{"to": [{"podSelector": {}}], "ports": [{"port": 4318}]}],
    },
    "monitoring": {
        "serviceMonitor": True,
        "rules": True,
        "dashboard": True,
        "labels": {"release": "prometheus"},
    },
    "pod": {
        "nodeSelector": {"node.kubernetes.io/instance-type": "c7a.xlarge"},
        "tolerations": [{"key": "trading", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "registry"}],
        "priorityClassName": "trading",
    },
}
SETS: Final = {"plain": PLAIN, "guarded": GUARDED, "all": ALL}

CALLER: Final = "caller-0123456789abcdef"
SECRETS: Final = {
    "caller": {"key": CALLER.encode()},
    "admin": {"key": b"admin-0123456789abcdef\n"},
    "sealing": {"key": b"0123456789abcdef" * 4},
}

every_set = pytest.mark.parametrize("values", SETS.values(), ids=SETS)


def pod_of(manifests: list[Manifest]) -> Pod:
    return Pod(only(manifests, "Deployment")["spec"]["template"]["spec"])


# --- what it makes --------------------------------------------------------------------


@every_set
def test_helm_finds_nothing_to_complain_of(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))

    done = helm("lint", "--strict", CHART, "--values", tmp_path / "values.yaml")

    assert done.returncode == 0, done.stdout + done.stderr


@every_set
def test_kubernetes_knows_every_field(values: dict[str, Any], tmp_path: Path) -> None:
    manifests = render(values, tmp_path)

    # The operator's own kinds are in no release of Kubernetes.
    ours = [each for each in manifests if "monitoring.coreos" not in each["apiVersion"]]
    assert len(ours) >= 4
    for manifest in ours:
        kubernetes_validate.validate(manifest, "1.37", strict=True)


def test_a_release_is_of_this_version() -> None:
    project = tomllib.loads((CHART.parents[2] / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert chart["appVersion"] == chart["version"] == project["version"]


@every_set
def test_the_restricted_pod_security_standard_admits_it(
    values: dict[str, Any], tmp_path: Path
) -> None:
    """Source: kubernetes.io/docs/concepts/security/pod-security-standards, "Restricted"."""
    pod = pod_of(render(values, tmp_path))

    allowed = {"emptyDir", "image", "persistentVolumeClaim", "projected"}
    for volume in pod.spec["volumes"]:
        assert volume.keys() - {"name"} <= allowed
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys()
    assert pod.spec["securityContext"]["runAsNonRoot"] is True
    assert pod.spec["securityContext"]["runAsUser"] > 0
    assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    own = pod.container["securityContext"]
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert own["readOnlyRootFilesystem"] is True  # what the standard does not ask for


def test_a_pod_has_whole_cpus_of_its_own(tmp_path: Path) -> None:
    pod = pod_of(render(PLAIN | {"cpus": 6, "memory": "8Gi"}, tmp_path))

    asked = pod.container["resources"]
    assert asked["requests"] == asked["limits"] == {"cpu": 6, "memory": "8Gi"}


def test_a_pod_is_the_user_of_the_image_and_runs_its_program(tmp_path: Path) -> None:
    image = (CHART.parents[1] / "container" / "Containerfile").read_text()
    pod = pod_of(render(PLAIN, tmp_path))

    ids = pod.spec["securityContext"]
    assert f"\nUSER {ids['runAsUser']}:{ids['runAsGroup']}\n" in image
    assert f'\nENTRYPOINT ["{pod.container["command"][0]}", ' in image


def test_ports_are_those_that_serve_opens(tmp_path: Path) -> None:
    manifests = render(PLAIN, tmp_path)

    named = {
        each["name"]: each["containerPort"] for each in pod_of(manifests).container["ports"]
    }
    options = ServeOptions()
    assert named == {"grpc": options.grpc_port, "metrics": options.metrics_port}
    for name in ("desk", "desk-pods"):
        service = only(manifests, "Service", name)["spec"]
        assert {each["port"] for each in service["ports"]} <= set(named.values())
        assert all(each["targetPort"] == each["name"] for each in service["ports"])


def test_a_pod_has_the_time_that_its_server_takes(tmp_path: Path) -> None:
    values = {
        **PLAIN,
        "connectionAgeSeconds": 100,
        "stopTimeoutSeconds": 20,
        "readyTimeoutSeconds": 301,
    }
    manifests = render(values, tmp_path)
    pod = pod_of(manifests)

    drain_s = pod.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert drain_s == 100 + 10 + 5  # a tenth is Triton's
    # The launcher ends what has not stopped 5 s after its timeout.
    assert pod.spec["terminationGracePeriodSeconds"] >= drain_s + 20 + 5
    startup = pod.container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 301
    assert only(manifests, "Deployment")["spec"]["progressDeadlineSeconds"] > 301


def test_a_rollout_takes_no_pod_away_before_another_is_ready(tmp_path: Path) -> None:
    spec = only(render(PLAIN, tmp_path), "Deployment")["spec"]

    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert "readinessProbe" in Pod(spec["template"]["spec"]).container


def test_whatever_selects_pods_selects_these(tmp_path: Path) -> None:
    manifests = render(ALL, tmp_path)
    deployment = only(manifests, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"].items()
    constraints = deployment["template"]["spec"]["topologySpreadConstraints"]

    selectors = [
        deployment["selector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in constraints),
        only(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        only(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(only(manifests, "Service", n)["spec"]["selector"] for n in ("desk", "desk-pods")),
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels
    scaled = only(manifests, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == ("Deployment", "desk")
    assert "replicas" not in deployment  # or an upgrade would undo the autoscaler's


def test_a_network_policy_lets_in_those_that_are_named(tmp_path: Path) -> None:
    policy = only(render(ALL, tmp_path), "NetworkPolicy")["spec"]

    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == ALL["networkPolicy"]["egress"]
    callers, scrapers = policy["ingress"]
    assert callers["from"] == ALL["networkPolicy"]["callers"]
    assert callers["ports"] == [{"port": "grpc"}]
    assert scrapers["from"]  # an empty list would let in everybody
    assert scrapers["ports"] == [{"port": "metrics"}]


# --- what watches it ------------------------------------------------------------------


def test_a_packaged_chart_holds_the_rules_and_the_dashboard(tmp_path: Path) -> None:
    """Those of deploy/monitoring, to which the chart has links."""
    done = helm("package", CHART, "--destination", tmp_path)
    assert done.returncode == 0, done.stderr
    [packaged] = tmp_path.glob("megatick-*.tgz")

    manifests = render(ALL, tmp_path, packaged)

    rule = only(manifests, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((FOLDER / "rules.yml").read_text())
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    dashboard = only(manifests, "ConfigMap", "desk-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    [content] = dashboard["data"].values()
    assert json.loads(content) == json.loads((FOLDER / "dashboard.json").read_text())


def test_prometheus_finds_the_pods_under_the_job_that_the_rules_name(
    tmp_path: Path,
) -> None:
    manifests = render(ALL, tmp_path)
    monitor = only(manifests, "ServiceMonitor")["spec"]

    [service] = [
        each
        for each in manifests
        if each["kind"] == "Service"
        and monitor["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
    ]
    assert service["metadata"]["labels"][monitor["jobLabel"]] == JOB
    [endpoint] = monitor["endpoints"]
    assert endpoint["port"] in [each["name"] for each in service["spec"]["ports"]]


# --- what it refuses ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"image": ""}, "image: expected the image that deploy/container makes"),
        ({"image": "registry:5000/megatick"}, "image: expected a tag or a digest"),
        ({"repository": {}}, "repository: expected an image or a claim"),
        (
            {"repository": {"image": "model:1", "claim": "models"}},
            "repository: expected either an image or a claim, found both",
        ),
        (
            {"repository": {"claim": "models", "path": "a/../../b"}},
            "repository.path: expected a folder inside",
        ),
        ({"replcas": 3}, "'replcas' not allowed"),
        ({"cpus": 1.5}, "'/cpus': got number, want integer"),
        ({"cpus": 0}, "'/cpus': minimum: got 0, want 1"),
        ({"memory": "4"}, "'/memory': '4' does not match"),
        ({"sharedMemoryMiB": 8}, "'/sharedMemoryMiB': minimum: got 8, want 16"),
        ({"connectionAgeSeconds": 0}, "'/connectionAgeSeconds': minimum"),
        ({"stopTimeoutSeconds": -1}, "'/stopTimeoutSeconds': minimum"),
        ({"tls": {"clientCa": "callers"}}, "tls.clientCa: expected tls.secret besides"),
        ({"keys": {"caller": "No Name"}}, "'/keys/caller': 'No Name' does not match"),
        ({"audit": {"claim": "records"}}, "audit: expected claim and keySecret"),
        ({"audit": {"onFailure": "ignore"}}, "'/audit/onFailure': value must be one of"),
        (
            {"replicas": 4, "autoscaling": {"maxReplicas": 3}},
            "autoscaling.maxReplicas: expected at least replicas, 4, found 3",
        ),
        ({"networkPolicy": {"callers": []}}, "'/networkPolicy/callers': minItems"),
        ({"networkPolicy": {"callers": [{}]}}, "'/networkPolicy/callers/0': minProperties"),
        ({"extraArgs": ["--grpc-port=9"]}, "extraArgs: expected none that the chart gives"),
        ({"pod": {"hostNetwork": True}}, "'hostNetwork' not allowed"),
    ],
    ids=lambda each: json.dumps(each) if isinstance(each, dict) else "",
)
def test_values_that_are_none_are_refused_by_name(
    changed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump({**PLAIN, **changed}))

    done = helm("template", "desk", CHART, "--values", file)

    assert done.returncode != 0
    assert said in done.stderr


# --- a real server --------------------------------------------------------------------


def free_ports() -> dict[str, int]:
    with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as other:
        return {"grpc": one.getsockname()[1], "metrics": other.getsockname()[1]}


@pytest.mark.triton
def test_a_server_takes_the_defaults(exported: Exported, tmp_path: Path) -> None:
    pod, ports = pod_of(render(PLAIN, tmp_path)), free_ports()
    mounted = pod.mount(tmp_path, exported.out, {})

    with pod.running(pod.command(mounted, {}), ports):
        assert pod.probe("readinessProbe", ports)
        assert pod.probe("livenessProbe", ports)
        with Client(f"127.0.0.1:{ports['grpc']}", timeout_s=30) as client:
            assert client.score("Profit doubles").tokens


@pytest.mark.triton
def test_a_server_takes_tls_keys_and_an_audit_log(
    exported: Exported, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    server, caller = authority.issue("localhost"), authority.issue("desk", file="caller")
    secrets = SECRETS | {
        "certificate": {
            "tls.crt": server.certificate.read_bytes(),
            "tls.key": server.key.read_bytes(),
        },
        "callers": {"ca.crt": authority.ca.read_bytes()},
    }
    pod, ports = pod_of(render(GUARDED, tmp_path)), free_ports()
    models = tmp_path / "models"
    models.mkdir()
    (models / "out").symlink_to(exported.out)
    mounted = pod.mount(tmp_path / "pod", models, secrets)
    command = pod.command(mounted, {"metadata.name": "desk-7d4b9-x2x5k"})
    address = f"localhost:{ports['grpc']}"
    tls = Tls(ca=authority.ca, certificate=caller.certificate, key=caller.key)

    with pod.running(command, ports):
        # Triton opens its metrics last: who is ready by them can be called.
        headers = {GRPC_PREFIX + CALLER_KEY: CALLER}
        with Client(address, timeout_s=30, tls=tls, headers=headers) as client:
            assert client.score("Profit doubles").tokens
        assert pod.probe("readinessProbe", ports)
        assert pod.probe("livenessProbe", ports)
        with Client(address, tls=tls) as client, pytest.raises(Unauthenticated):
            client.score("Profit doubles")
        with (
            Client(address, tls=Tls(ca=authority.ca), headers=headers) as client,
            pytest.raises(ServerUnavailable),
        ):
            client.score("Profit doubles")

    [records] = (mounted["/audit"] / "desk-7d4b9-x2x5k").glob("scorer-*.jsonl")
    assert len(records.read_text().splitlines()) == 3  # genesis, the reply, the end
