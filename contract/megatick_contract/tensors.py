"""What one tensor on the wire is: its name, datatype, shape per row, and meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from megatick_contract.errors import ContractError

Datatype = Literal["BYTES", "BOOL", "INT32", "FP32"]

ANY: Final = -1
"""An axis whose length the contract leaves open, as in Triton's ``dims``."""

NUMPY_DTYPES: Final[dict[Datatype, np.dtype[Any]]] = {
    "BYTES": np.dtype(object),
    "BOOL": np.dtype(np.bool_),
    "INT32": np.dtype(np.int32),
    "FP32": np.dtype(np.float32),
}


@dataclass(frozen=True)
class Tensor:
    """One named tensor.

    Attributes:
        name: the name on the wire.
        datatype: KServe-v2 datatype; ``BYTES`` is an object array of ``bytes``.
        shape: the shape of **one row**; on the wire a leading axis of R rows comes
            before it.  ``ANY`` (-1) leaves a length open.
        meaning: what it holds, with unit and range.
        on_request: an output that costs something or rarely matters; the SDK names
            it only when its caller wants it.
        optional: an input that a request may leave out.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    meaning: str
    on_request: bool = False
    optional: bool = False

    def __hash__(self) -> int:
        """By the name, which no two tensors of a model share."""
        return hash(self.name)

    def check(self, array: npt.NDArray[Any]) -> None:
        """Refuse an array that is not R ≥ 1 rows of this tensor.

        Raises:
            ContractError: wrong dtype, number of axes, or length of an axis.
        """
        if not (
            array.dtype == NUMPY_DTYPES[self.datatype]
            and array.ndim == len(self.shape) + 1
            and array.shape[0] >= 1
            and (
                array.shape[1:] == self.shape
                or all(
                    length in (ANY, given)
                    for length, given in zip(self.shape, array.shape[1:], strict=True)
                )
            )
        ):
            raise ContractError(
                self.name,
                expected=f"{self.datatype} [rows, {', '.join(map(str, self.shape))}]",
                found=f"{array.dtype} {list(array.shape)}",
            )
