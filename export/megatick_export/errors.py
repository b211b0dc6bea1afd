"""Errors of the export: what went wrong between a checkpoint and a model repository.

MegatickError
└── ExportError                     any failure of this package
    ├── CheckpointError             a checkpoint is unreadable or contradicts itself
    ├── UnsupportedArchitecture     its args ask for mathematics that is not built here
    ├── HostileCheckpoint           its pickle wants to import what no checkpoint needs
    ├── HeadError                   its classification head does not give our classes
    ├── OptionsError                an option has a value that cannot be served
    ├── TokenizerError              its tokenizer is absent, corrupt or another model's
    ├── ParityError                 the exported graph is not the same model
    ├── BudgetError                 a precision changes more answers than is allowed
    ├── EngineError                 an engine cannot be built, or was built for another GPU
    ├── QuantizationError           a graph's weights cannot be made int8
    └── RepositoryError             the model repository cannot be written
"""

from __future__ import annotations

from pathlib import Path

from megatick_contract import MegatickError


class ExportError(MegatickError):
    """Base of all errors that the export raises on purpose."""


class CheckpointError(ExportError):
    """A checkpoint cannot be read, cannot be written, or contradicts itself."""

    def __init__(
        self,
        path: Path,
        *,
        expected: str,
        found: str,
        hint: str,
        tensor: str | None = None,
    ) -> None:
        about = str(path) if tensor is None else f"{path}: tensor {tensor!r}"
        super().__init__(f"{about}: expected {expected}, found {found}.  {hint}")
        self.path = path
        self.tensor = tensor
        self.expected = expected
        self.found = found
        self.hint = hint


class UnsupportedArchitecture(ExportError):
    """One of the checkpoint's args changes the mathematics in a way not built here."""

    def __init__(self, path: Path, *, arg: str, value: object, reason: str) -> None:
        super().__init__(
            f"{path}: {arg}={value!r} is not supported: {reason}.  "
            "Bring a checkpoint of a dense GPT or BERT trained without it."
        )
        self.path = path
        self.arg = arg
        self.value = value
        self.reason = reason


class HostileCheckpoint(ExportError):
    """A pickle names something to import that has no business in a checkpoint."""

    def __init__(self, path: Path, *, imported: str) -> None:
        super().__init__(
            f"{path}: expected tensors and Megatron's args, found a pickle that imports "
            f"{imported!r}.  Nothing of it was run.  Do not load the file elsewhere; get "
            "the checkpoint again from a source you trust."
        )
        self.path = path
        self.imported = imported


class HeadError(ExportError):
    """A checkpoint's classification head does not give the contract's classes."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class TokenizerError(ExportError):
    """A tokenizer is absent, corrupt, or made for another model."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class ParityError(ExportError):
    """The exported graph does not answer as the checkpoint's model does."""

    def __init__(self, engine: str, *, expected: str, found: str) -> None:
        super().__init__(
            f"{engine}: expected {expected} of the reference network's, found "
            f"{found}; nothing was written.  This is a fault of the export: please report "
            "it with the output of `megatick inspect`."
        )
        self.engine = engine
        self.expected = expected
        self.found = found


class BudgetError(ExportError):
    """No precision that was asked for keeps the answers within the budgets."""

    def __init__(self, reasons: str, *, texts: str) -> None:
        super().__init__(
            f"{reasons} (measured on {texts}); nothing was written.  Take --precision fp32 "
            "or auto, or allow more with --flip-budget and --score-budget."
        )
        self.reasons = reasons
        self.texts = texts


class EngineError(ExportError):
    """An engine cannot be built here, or the one that is there suits nothing here."""


class QuantizationError(ExportError):
    """The weights of a packed graph cannot be made int8."""

    def __init__(self, graph: Path, *, expected: str, found: str) -> None:
        super().__init__(
            f"{graph}: expected {expected}, found {found}; nothing was written.  Quantise "
            "the float32 graph of an export with --precision fp32."
        )
        self.graph = graph
        self.expected = expected
        self.found = found


class OptionsError(ExportError):
    """An option of the export has a value that cannot be served."""

    def __init__(self, option: str, *, expected: str, found: object) -> None:
        super().__init__(f"{option}: expected {expected}, found {found!r}")
        self.option = option
        self.expected = expected
        self.found = found


class RepositoryError(ExportError):
    """A model repository cannot be written."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
