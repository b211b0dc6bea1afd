"""A chart's manifests, and a kubelet without a cluster: it runs a pod's command here."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc  # type: ignore[import-untyped]
import pytest
import yaml
from programs import find_tool

CHART: Final = Path(__file__).parents[2] / "deploy" / "helm" / "megatick"

Manifest = dict[str, Any]
Secrets = Mapping[str, Mapping[str, bytes]]
"""Of each Secret's name, what its keys hold."""

_HEALTH: Final = "/grpc.health.v1.Health/Check"
_SERVING: Final = b"\x08\x01"
"""``HealthCheckResponse{status: SERVING}``; the request names no service.

Source: grpc/grpc-proto, grpc/health/v1/health.proto.
"""


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Helm, whatever comes of it."""
    return subprocess.run(
        [find_tool("helm"), *arguments], capture_output=True, text=True, check=False
    )


def render(values: Mapping[str, Any], folder: Path, chart: Path = CHART) -> list[Manifest]:
    """What the chart makes of these values, for a release named ``desk``.

    Args:
        values: as in a values file.
        folder: where that file is written.
        chart: a folder, or what ``helm package`` made of it.
    """
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(dict(values)))
    done = helm("template", "desk", chart, "--values", file)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def only(manifests: list[Manifest], kind: str, name: str = "desk") -> Manifest:
    """The one of that kind and name."""
    [found] = [
        each
        for each in manifests
        if each["kind"] == kind and each["metadata"]["name"] == name
    ]
    return found


@dataclass(frozen=True)
class Pod:
    """A Deployment's pod with one container.

    Attributes:
        spec: as rendered.
        container: its only one.
    """

    spec: Manifest

    @property
    def container(self) -> Manifest:
        [container] = self.spec["containers"]
        found: Manifest = container
        return found

    def mount(self, folder: Path, repository: Path, secrets: Secrets) -> dict[str, Path]:
        """Fill its volumes, and tell what lies where: of a path in it, one of ours.

        Args:
            folder: where they are made.
            repository: what its volume of that name holds.
            secrets: all that there are.
        """
        mounted = {}
        for volume in self.spec["volumes"]:
            [mount] = [
                each
                for each in self.container["volumeMounts"]
                if each["name"] == volume["name"]
            ]
            here = folder / volume["name"]
            if "projected" in volume:
                here.mkdir()
                for source in volume["projected"]["sources"]:
                    secret = source["secret"]
                    for item in secret["items"]:
                        content = secrets[secret["name"]][item["key"]]
                        (here / item["path"]).write_bytes(content)
            elif volume["name"] == "repository":
                shutil.copytree(repository, here)
                here /= mount.get("subPath", "")
            else:
                here.mkdir()
            mounted[mount["mountPath"]] = here
        return mounted

    def command(
        self, mounted: Mapping[str, Path], variables: Mapping[str, str]
    ) -> list[str]:
        """Its command as it would run in the container, with our paths for its own."""
        known = {
            each["name"]: variables[each["valueFrom"]["fieldRef"]["fieldPath"]]
            for each in self.container.get("env", [])
        }
        places = "|".join(map(re.escape, mounted))

        def filled(argument: str) -> str:
            text = re.sub(r"\$\((\w+)\)", lambda name: known[name[1]], argument)
            return re.sub(
                f"(^|=)({places})(?=/|$)",
                lambda found: f"{found[1]}{mounted[found[2]]}",
                text,
            )

        return [filled(each) for each in self.container["command"] + self.container["args"]]

    def probe(self, kind: str, ports: Mapping[str, int]) -> bool:
        """Ask once, as the kubelet does; it verifies nothing and speaks no TLS over gRPC.

        Args:
            kind: ``startupProbe`` and the like.
            ports: where those of the container, by name, are.
        """
        asked = self.container[kind]
        named = {each["name"]: each["containerPort"] for each in self.container["ports"]}
        if "grpc" in asked:
            assert asked["grpc"]["port"] == named["grpc"]
            return _serves(f"127.0.0.1:{ports['grpc']}")
        get = asked["httpGet"]
        url = f"http://127.0.0.1:{ports[get['port']]}{get['path']}"
        try:
            with urllib.request.urlopen(url, timeout=asked["timeoutSeconds"]) as reply:
                return bool(reply.status == 200)
        except urllib.error.URLError:
            return False

    @contextmanager
    def running(self, command: list[str], ports: Mapping[str, int]) -> Iterator[None]:
        """Run a command until it is ready, and stop it as the kubelet would, at the end.

        Args:
            command: from ``command``, which gets ports of this machine that are free.
            ports: those.
        """
        assert command[0] == "megatick"
        chosen = [f"--{name}-port={port}" for name, port in ports.items()]
        with subprocess.Popen(
            [
                *(sys.executable, "-c", "from megatick_cli import main; main()"),
                *(*command[1:], *chosen),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                deadline = time.monotonic() + 60
                while not self.probe("startupProbe", ports):
                    assert process.poll() is None, process.communicate()[0]
                    assert time.monotonic() < deadline, "it is not ready"
                    time.sleep(0.1)
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    grace_s = self.spec["terminationGracePeriodSeconds"]
                    said, _ = process.communicate(timeout=grace_s)
                except subprocess.TimeoutExpired:
                    process.kill()
                    pytest.fail("it did not stop")
            assert process.returncode == 0, said


def _serves(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        try:
            answer: bytes = channel.unary_unary(_HEALTH)(b"", timeout=5)
        except grpc.RpcError:
            return False
    return answer == _SERVING
