"""Triton with its dynamic batcher and onnxruntime in float32, padded.

    python server.py MODEL_FOLDER PORT

The server is that of the wheel nvidia-pytriton.  It lacks the onnxruntime backend, so that
a Python step calls onnxruntime; the step tokenizes as well, which saves an ensemble's hop.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).parent


def main(folder: Path, port: str) -> None:
    """Lay out a repository and the backend beside the model, and become the server."""
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("nvidia-pytriton is not installed: see requirements.txt")
    package = Path(spec.submodule_search_locations[0])
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    place = folder.with_name("triton")
    shutil.rmtree(place, ignore_errors=True)

    backend = place / "backends" / "python"
    shutil.copytree(package / "tritonserver" / "backends" / "python", backend)
    stubs = package / "tritonserver" / "python_backend_stubs"
    stub = shutil.copy(stubs / version / "triton_python_backend_stub", backend)
    os.chmod(stub, 0o700)

    model = place / "models" / "sentiment"
    (model / "1").mkdir(parents=True)
    (model / "1" / "model.py").symlink_to((HERE / "model.py").resolve())
    parameter = f'parameters {{ key: "folder" value: {{ string_value: "{folder}" }} }}\n'
    (model / "config.pbtxt").write_text((HERE / "config.pbtxt").read_text() + parameter)

    server = str(package / "tritonserver" / "bin" / "tritonserver")
    libraries = (
        sysconfig.get_config_var("LIBDIR"),
        package.parent / "nvidia_pytriton.libs",
    )
    os.execve(  # noqa: S606  no shell is wanted
        server,
        [
            server,
            f"--model-repository={place / 'models'}",
            f"--backend-directory={place / 'backends'}",
            f"--backend-config=python,shm-region-prefix-name=peer-{os.getpid()}-",
            "--disable-auto-complete-config",
            "--http-address=127.0.0.1",
            f"--http-port={port}",
            "--allow-grpc=false",
            "--allow-metrics=false",
        ],
        os.environ
        | {
            # The stub takes the first python3 that it finds, and that one's packages.
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "CUDA_VISIBLE_DEVICES": "-1",
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2])
