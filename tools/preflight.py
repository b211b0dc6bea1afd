"""Say what this machine lacks before anything is installed.  Standard library only.

Written for any Python 3, so that an old one can be told that it is too old.
"""

import os
import platform
import shutil
import sys

PYTHONS = ((3, 11), (3, 12))
GLIBC = (2, 35)
DISK_GB = 6  # 2.0 for .venv, as much again while pip unpacks it, and 1.1 for the demo


def problems():
    """List what is missing, each with what to do about it."""
    found = []
    if sys.version_info[:2] not in PYTHONS:
        found.append(
            f"Python 3.11 or 3.12 is needed, {sys.executable} is Python "
            f"{platform.python_version()}: install one, or name it with "
            "`make PYTHON=/path/to/python3.12 ...`"
        )
    if sys.platform != "linux" or platform.machine() != "x86_64":
        found.append(
            f"Linux on x86-64 is needed, this is {platform.system()} on "
            f"{platform.machine()}: the Triton server in the "
            "nvidia-pytriton wheel is built for nothing else"
        )
    else:
        name, version = platform.libc_ver()
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if name != "glibc" or numbers < GLIBC:
            found.append(
                "glibc 2.35 or newer is needed, found {} {}: use Ubuntu 22.04, Debian 12, "
                "RHEL 10 or newer".format(name or "another C library", version)
            )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        found.append(
            f"Python's module {error.name!r} is missing: on Debian or Ubuntu install "
            "python3-venv"
        )
    free_gb = shutil.disk_usage(os.getcwd()).free / 1e9
    if free_gb < DISK_GB and not os.path.exists(".venv"):
        found.append(
            f"{DISK_GB} GB of free disk are needed, found {free_gb:.1f} GB in {os.getcwd()}"
        )
    return found


if __name__ == "__main__":
    missing = problems()
    for problem in missing:
        sys.stderr.write("error: " + problem + "\n")
    sys.exit(1 if missing else 0)
