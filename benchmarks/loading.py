"""Peak memory of reading a checkpoint, against its merged float32 weights.

    python benchmarks/loading.py CHECKPOINT

prints the peak for the weights alone and for the weights in the reference network.  Each
is a process of its own, whose peak resident set (VmHWM: anonymous memory and the mapped
pages of files alike) less that of the same process after its imports is taken.  Linux.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path


def peak_bytes() -> int:
    """Read the largest resident set that this process ever had."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def measure(checkpoint: Path, *, network: bool) -> dict[str, float]:
    """Read a checkpoint in this process, which must have read nothing before.

    Returns:
        ``float32`` bytes of the merged weights, ``baseline`` and ``peak`` resident bytes,
        ``seconds``.
    """
    from megatick_export import read_checkpoint, reference_network

    baseline = peak_bytes()
    start = time.perf_counter()
    read = read_checkpoint(checkpoint)
    if network:
        reference_network(read)
    return {
        "float32": 4.0 * read.num_parameters,
        "baseline": baseline,
        "peak": peak_bytes(),
        "seconds": time.perf_counter() - start,
    }


def main() -> None:
    """Measure in fresh processes and print one line for each."""
    if len(sys.argv) == 3:
        figures = measure(Path(sys.argv[2]), network=sys.argv[1] == "network")
        sys.stdout.write(json.dumps(figures))
        return
    for what in ("weights", "network"):
        command = [sys.executable, __file__, what, sys.argv[1]]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        f = json.loads(done.stdout)
        own = f["peak"] - f["baseline"]
        sys.stdout.write(
            f"{what}: {own / 1e6:,.0f} MB for {f['float32'] / 1e6:,.0f} MB of float32 "
            f"weights, {own / f['float32']:.2f} x ({f['peak'] / f['float32']:.2f} x with "
            f"the {f['baseline'] / 1e6:,.0f} MB of the libraries); {f['seconds']:.1f} s\n"
        )


if __name__ == "__main__":
    main()
