"""The ``tritonserver`` in the ``nvidia-pytriton`` wheel, and how it finds its Python.

The wheel's Python backend starts a *stub* process for each model instance.  The stub
embeds the interpreter in isolated mode: it reads neither ``PYTHONPATH`` nor
``PYTHONHOME`` (tried), but takes the first ``python3`` on ``PATH`` and that one's
``pyvenv.cfg``.  So each server gets a small virtual environment of its own that points
at the launcher's packages, wherever they are installed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import megatick_contract
from megatick_server.errors import InstallationError
from megatick_server.launcher.keeper import SHARED_MEMORY
from megatick_server.launcher.private import PREFIX, temporary_folder

GLIBC_NEEDED: Final = (2, 35)
"""Source: the wheel's tag, manylinux_2_35."""

SHM_NEEDED_BYTES: Final = 16 << 20
"""Triton asks for 1 MiB a model instance at start (its ``shm-default-byte-size``) and
grows by 1 MiB: enough for the steps of the public models, with an instance to spare."""

_REINSTALL: Final = "Install it with `pip install megatick[server]`."
_OTHER_PYTHON: Final = "Use Python 3.11 or 3.12."


@dataclass(frozen=True)
class Installation:
    """What the wheel brings.

    Attributes:
        binary: ``tritonserver``.
        backend: folder of the Python backend's shared library.
        stub: the stub for this interpreter's version.
        libraries: folders that the loader must search, in order.
    """

    binary: Path
    backend: Path
    stub: Path
    libraries: tuple[Path, ...]


@dataclass(frozen=True)
class Prepared:
    """A private directory made ready for one server.

    Attributes:
        backends: what ``--backend-directory`` takes.
        environment: the server's whole environment.
    """

    backends: Path
    environment: dict[str, str]


def find_installation() -> Installation:
    """Find the wheel's server for this interpreter.

    Raises:
        InstallationError: the C library is too old, the wheel is absent, or it has no
            stub for this version of Python.
    """
    check_glibc()
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        raise InstallationError(
            "the package nvidia-pytriton, which holds tritonserver, is not installed "
            f"for {sys.executable}",
            remedy=_REINSTALL if sys.version_info < (3, 13) else _OTHER_PYTHON,
        )
    package = Path(spec.submodule_search_locations[0])
    root = package / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = root / "python_backend_stubs" / version / "triton_python_backend_stub"
    for needed in (root / "bin" / "tritonserver", root / "backends" / "python"):
        if not needed.exists():
            raise InstallationError(
                f"{needed} is missing: nvidia-pytriton is not what was expected",
                remedy="Reinstall nvidia-pytriton 0.7.0 on Linux.",
            )
    if not stub.is_file():
        has = ", ".join(sorted(each.name for each in stub.parents[1].glob("*")))
        raise InstallationError(
            f"the server has no stub for Python {version}, only for {has}",
            remedy=_OTHER_PYTHON,
        )
    return Installation(
        binary=root / "bin" / "tritonserver",
        backend=root / "backends" / "python",
        stub=stub,
        libraries=(
            *_interpreter_libraries(),
            package.parent / "nvidia_pytriton.libs",
        ),
    )


def check_glibc() -> str:
    """Return the C library's version.

    Raises:
        InstallationError: it is not glibc, or older than the server needs.
    """
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        found = tuple(int(part) for part in version.split(".")[:2])
    except (ValueError, OSError):  # not glibc: the name is unknown to confstr
        name, version, found = "another C library", "", ()
    if name != "glibc" or found < GLIBC_NEEDED:
        raise InstallationError(
            f"tritonserver needs glibc {GLIBC_NEEDED[0]}.{GLIBC_NEEDED[1]} or newer, "
            f"this machine has {name} {version}".rstrip(),
            remedy="Ubuntu 22.04, Debian 12 and RHEL 10 have it, as do newer ones.",
        )
    return version


def check_shared_memory() -> int:
    """Return the bytes free in ``/dev/shm``.

    Raises:
        InstallationError: too few for the server's Python steps.
    """
    try:
        stat = os.statvfs(SHARED_MEMORY)
    except FileNotFoundError as error:
        raise InstallationError(
            f"{SHARED_MEMORY} does not exist, and the Python steps talk through it",
            remedy=f"Mount a tmpfs of at least {SHM_NEEDED_BYTES >> 20} MiB there.",
        ) from error
    free = stat.f_bavail * stat.f_frsize
    if free < SHM_NEEDED_BYTES:
        raise InstallationError(
            f"{SHARED_MEMORY} has {free / 2**20:.1f} MiB free, the Python steps need "
            f"{SHM_NEEDED_BYTES >> 20} MiB",
            remedy="In a container, start it with a larger --shm-size.",
        )
    return free


def prepare(
    installation: Installation,
    directory: Path,
    *,
    python_path: Sequence[Path] = (),
) -> Prepared:
    """Lay out what one server needs, and try its stub.

    Args:
        installation: the wheel's server.
        directory: private, with a plain path; the caller removes it.
        python_path: further folders from which models may import.

    Raises:
        InstallationError: the stub does not start, for example because the
            interpreter has no shared library.
    """
    backends = directory / "backends"
    backend = backends / "python"
    backend.mkdir(parents=True)
    for file in installation.backend.iterdir():
        if file.is_file():
            (backend / file.name).symlink_to(file)
    # Not a link: Triton sets the execute permission, which is not ours to change there.
    stub = shutil.copy(installation.stub, backend)
    os.chmod(stub, 0o700)
    # The wheel has no other; one that was put there is the user's, and runs on a GPU.
    others = [
        each
        for each in installation.backend.parent.iterdir()
        if each.is_dir() and each != installation.backend
    ]
    for other in others:
        (backends / other.name).symlink_to(other)

    python = directory / "python"
    venv.create(python, symlinks=True)
    packages = Path(
        sysconfig.get_path("purelib", vars={"base": str(python)}, scheme="venv")
    )
    (packages / "megatick.pth").write_text(
        "\n".join(
            (
                # A model repository is an artefact: no __pycache__ is written into it.
                "import sys; sys.dont_write_bytecode = True",
                *map(str, python_path),
                *map(str, _import_folders()),
            )
        )
        + "\n"
    )
    environment = {
        "PATH": f"{python / 'bin'}:/usr/bin:/bin",
        "LD_LIBRARY_PATH": ":".join(map(str, installation.libraries)),
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "LANG": "C.UTF-8",
        # The model step has the cores; numpy and the tokenizer in the other steps
        # would only contend for them with a thread pool each.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if not others:  # without this, Triton would still reserve a GPU's memory
        environment["CUDA_VISIBLE_DEVICES"] = "-1"
    _try_stub(Path(stub), environment)
    return Prepared(backends, environment)


def try_installation() -> Installation:
    """Start the server's program and its stub once, without a model.

    Raises:
        InstallationError: one of them is absent or does not start, or could not where
            temporary files are.
    """
    installation = find_installation()
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=temporary_folder()) as directory:
        prepared = prepare(installation, Path(directory))
        usage = subprocess.run(
            [installation.binary, "--help"],  # exits 1 even so
            env=prepared.environment,
            capture_output=True,
            text=True,
            timeout=30,
        )
    if "Usage: tritonserver" not in usage.stdout + usage.stderr:
        raise InstallationError(
            f"{installation.binary} does not start: {usage.stderr.strip()}",
            remedy="Reinstall nvidia-pytriton 0.7.0.",
        )
    return installation


def _import_folders() -> list[Path]:
    """Where this process finds third-party packages and Megatick's own, in order."""
    sources = [Path(__file__).parents[2], Path(str(megatick_contract.__file__)).parents[1]]
    installed = [*site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        installed.append(site.getusersitepackages())
    found = [*sources, *map(Path, installed)]
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def _interpreter_libraries() -> list[Path]:
    """Where libpython may be; relocated builds do not know their own LIBDIR."""
    candidates = [sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"]
    found = dict.fromkeys(Path(each) for each in candidates if each)
    return [folder for folder in found if folder.is_dir()]


def _try_stub(stub: Path, environment: dict[str, str]) -> None:
    """Start the stub without arguments: it prints its usage, if it starts at all."""
    try:
        done = subprocess.run(
            [stub], env=environment, capture_output=True, text=True, timeout=30
        )
    except OSError as error:
        raise InstallationError(
            f"{stub} cannot be executed: {error.strerror}",
            remedy="If its folder is mounted noexec, set TMPDIR to one that is not.",
        ) from error
    if done.returncode == 127:  # the loader's, by convention of ld.so
        raise InstallationError(
            f"the Python stub does not start: {done.stderr.strip()}",
            remedy="If libpython is what it lacks, use an interpreter built with its "
            "shared library (python.org's and Debian's `libpython3.x` have it).",
        )
