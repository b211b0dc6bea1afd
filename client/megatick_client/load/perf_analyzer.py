"""NVIDIA's ``perf_analyzer``: the one on PATH, or one in an environment of its own.

It never shares our environment: the wheel that works on older systems pins another
tritonclient.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from megatick_client.load.errors import PerfAnalyzerError

PROGRAM: Final = "perf_analyzer"
_READY: Final = "megatick-ready"
_TRIED_S: Final = 30
_LOADER_FAILED: Final = 127
"""The dynamic loader's exit status, by convention of ld.so."""


@dataclass(frozen=True)
class Wheels:
    """What ``pip`` is asked for, exactly.

    Attributes:
        name: of the environment's folder.
        requirements: pinned.
        libraries: folder beside ``site-packages`` that the loader must search; None
            where it needs none.
        needs: a library that only the system can bring, and how; empty where none.
    """

    name: str
    requirements: tuple[str, ...]
    libraries: str | None
    needs: str


CURRENT: Final = Wheels("perf-analyzer-2.60.0", ("perf-analyzer==2.60.0",), None, "")
"""Built for glibc 2.38 and newer (its tag, manylinux_2_38).  Unpinned, pip takes 0.1.0
on an older system, which is a placeholder that says hello."""

OLDER: Final = Wheels(
    "perf-analyzer-2.46.0",
    ("tritonclient==2.46.0", "nvidia-cuda-runtime-cu12==12.9.79"),
    "nvidia/cuda_runtime/lib",
    "It needs libb64: sudo apt-get install libb64-0d (Debian, Ubuntu)",
)
"""The last tritonclient whose wheel (manylinux1) holds a working program."""

CURRENT_NEEDS_GLIBC: Final = (2, 38)


@dataclass(frozen=True)
class PerfAnalyzer:
    """A program that was tried and runs.

    Attributes:
        program: its path.
        version: what it calls itself.
        environment: to run it in.
    """

    program: Path
    version: str
    environment: Mapping[str, str]


def find_perf_analyzer(cache: Path, *, environment: Mapping[str, str]) -> PerfAnalyzer:
    """Find perf_analyzer on PATH, or make it an environment in the cache at first use.

    Args:
        cache: folder in which the environment is, or is made.
        environment: the process's own; PATH and LD_LIBRARY_PATH are read from it.

    Raises:
        PerfAnalyzerError: pip could not bring it, or what is there does not run.
    """
    on_path = shutil.which(PROGRAM, path=environment.get("PATH", ""))
    if on_path is not None:
        return _tried(Path(on_path), environment, needs="Mend or remove it from PATH")
    wheels = CURRENT if _glibc() >= CURRENT_NEEDS_GLIBC else OLDER
    folder = cache / wheels.name
    if not (folder / _READY).is_file():
        _install(wheels, folder)
    libraries = [
        str(each) for each in folder.glob(f"lib/python*/site-packages/{wheels.libraries}")
    ]
    found = dict(environment)
    # The user's own come last: what the wheel brings is what it was built with.
    searched = [*libraries, environment.get("LD_LIBRARY_PATH", "")]
    found["LD_LIBRARY_PATH"] = ":".join(filter(None, searched))
    return _tried(folder / "bin" / PROGRAM, found, needs=wheels.needs)


def _install(wheels: Wheels, folder: Path) -> None:
    """Make the environment; one that was not finished is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        venv.create(folder, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PerfAnalyzerError(
            f"no environment could be made in {folder}: {error}",
            remedy="Put perf_analyzer on PATH, or give this Python its venv module.",
        ) from error
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    done = _run([*pip, "--disable-pip-version-check", *wheels.requirements], None)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise PerfAnalyzerError(
            f"pip could not install {' '.join(wheels.requirements)}: "
            f"{_last_line(done.stderr)}",
            remedy="Put perf_analyzer on PATH, or make a package index reachable.",
        )
    (folder / _READY).write_text("Made by `megatick loadtest`; remove the folder freely.\n")


def _tried(program: Path, environment: Mapping[str, str], *, needs: str) -> PerfAnalyzer:
    """Ask it for its version, which is the shortest proof that it runs."""
    try:
        done = _run([str(program), "--version"], environment, timeout_s=_TRIED_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PerfAnalyzerError(
            f"{program} does not start: {error}", remedy=needs
        ) from error
    if done.returncode == _LOADER_FAILED:
        raise PerfAnalyzerError(
            f"{program} does not load: "
            f"{_last_line(done.stderr).removeprefix(f'{program}: ')}",
            remedy=f"{needs}.",
        )
    # Its exit status says nothing: releases differ.
    said = (done.stdout + done.stderr).strip().splitlines()
    if not said or "ersion" not in said[0]:
        raise PerfAnalyzerError(
            f"{program} --version says {' '.join(said)[:80]!r}",
            remedy="Is it NVIDIA's?  Remove it from PATH to have the right one installed.",
        )
    return PerfAnalyzer(program, said[0].strip(), environment)


def _glibc() -> tuple[int, ...]:
    """Version of the C library; empty where it is another."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        return (
            tuple(int(part) for part in version.split(".")[:2]) if name == "glibc" else ()
        )
    except (ValueError, OSError):  # not glibc: the name is unknown to confstr
        return ()


def _run(
    command: Sequence[str],
    environment: Mapping[str, str] | None,
    *,
    timeout_s: float | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
