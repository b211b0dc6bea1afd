"""Reading the ``torch`` layout: one ``mp_rank_XX[_YYY]/model_optim_rng.pt`` a rank.

XX is the tensor-parallel rank, YYY the pipeline stage.  Megatron before its core (2019 to
2023) nested dictionaries by module; its core writes flat names.  Both are read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from megatick_export.checkpoint.deferred import Deferred, Record, TorchFile
from megatick_export.checkpoint.extra_state import largest_input_of
from megatick_export.checkpoint.fields import Fields, listed, shown
from megatick_export.checkpoint.merge import grouped_qkv, join_ranks, join_stages
from megatick_export.checkpoint.names import canonical_name, is_legacy, is_weight
from megatick_export.checkpoint.pickles import load_torch_file
from megatick_export.checkpoint.stored import Stored, args_in
from megatick_export.errors import CheckpointError, UnsupportedArchitecture

FILE_NAME: Final = "model_optim_rng.pt"
# The name where a distributed optimizer wrote its part apart (2022 and 2023).
_WITHOUT_OPTIMIZER: Final = "model_rng.pt"
_OPTIMIZER_FILES: Final = ("optim.pt", "distrib_optim.pt")
_FIRST_OF_ALL: Final = "embedding.word_embeddings.weight"
_DEEPEST: Final = 32  # legacy models nest their modules seven deep
_FOLDER: Final = re.compile(r"mp_rank_(\d+)(?:_(\d+))?(_\d+)?")


def rank_folders(folder: Path) -> list[Path]:
    """List the ranks' folders of one iteration."""
    return [folder / name for name in _names(folder) if _FOLDER.fullmatch(name)]


def is_rank_folder(folder: Path) -> bool:
    """Tell by its name whether a folder holds one rank's file."""
    return _FOLDER.fullmatch(folder.name) is not None


def read_rank_files(place: Path, absent_args: Mapping[str, Any] | None) -> Stored:
    """Read and join all ranks of an iteration.

    Args:
        place: the iteration's folder, or the one file of a model that was not cut.
        absent_args: Megatron's args for a file that carries none.

    Raises:
        CheckpointError: a rank is missing, a file is truncated or is not what Megatron
            writes, or no args are there.
        HostileCheckpoint: a pickle names something outside the allow-list.
        UnsupportedArchitecture: the folders are those of expert parallelism.
    """
    files = {(0, 0): place} if place.is_file() else _files_by_rank(place)
    first_file = files[min(files)]
    loaded = {rank: load_torch_file(file) for rank, file in files.items()}
    states = {rank: _state_in(file) for rank, file in loaded.items()}
    first = states[min(states)]
    args = args_in(first, absent_args, path=first_file)
    fields = Fields(args or {}, first_file)
    tensor_ranks, stages = _check_complete(place, files, fields)
    chunks = _chunk_keys(first, first_file)
    legacy = any(is_legacy(name) for name, _ in _flat(first[chunks[0]], first_file))
    saved = Fields(first, first_file)
    iteration = _iteration(saved)
    for rank, state in states.items():
        _check_iteration(Fields(state, files[rank]), expected=iteration, first=first_file)
    _check_distinct(loaded)
    given = fields.number("checkpoint_version", 0.0)
    # Only models of before Megatron's core ever had another order of QKV.
    version = saved.number("checkpoint_version", given)
    heads = fields.count("num_attention_heads", 0) // tensor_ranks if legacy else 0

    def stage(chunk: str, number: int) -> dict[str, Deferred]:
        ranks = [
            _rank_tensors(
                loaded[rank, number], states[rank, number].get(chunk), version, heads
            )
            for rank in range(tensor_ranks)
        ]
        return join_ranks(ranks, path=place)

    joined = [stage(chunk, number) for chunk in chunks for number in stages]
    if len(joined) > 1 and _FIRST_OF_ALL not in joined[0]:
        raise CheckpointError(
            files[min(files)],
            tensor=_FIRST_OF_ALL,
            expected="the embedding, as the first pipeline stage has it",
            found="another stage",
            hint="Were the folders renamed?  Copy the iteration again.",
        )
    return Stored(
        layout="torch",
        args=args,
        args_saved=first.get("args") is not None,
        iteration=iteration,
        weights=join_stages(joined),
        files=tuple(sorted(files.values())),
        tensor_parallel=tensor_ranks,
        pipeline_parallel=len(stages),
        virtual_stages=len(chunks),
        legacy_models=legacy,
    )


def _iteration(saved: Fields) -> int:
    # total_iters was its name in 2019.
    return saved.count(saved.either("iteration", "total_iters"), 0, least=0)


def _check_iteration(saved: Fields, *, expected: int, first: Path) -> None:
    """Hold a rank's iteration against that of the first: ranks of two are no model."""
    found = _iteration(saved)
    if found != expected:
        raise CheckpointError(
            saved.path,
            expected=f"iteration {expected}, as in {first.parent.name}",
            found=f"iteration {found}",
            hint="Ranks of two saves are mixed: copy the whole folder again.",
        )


def _check_distinct(files: Mapping[tuple[int, int], TorchFile]) -> None:
    """Refuse a file that was copied over another rank's; their checksums tell."""
    seen: dict[frozenset[tuple[int, Record]], Path] = {}
    for file in files.values():
        if not any(record.checksum for record in file.records.values()):
            continue  # torch computed none, or is older than its zip files
        first = seen.setdefault(frozenset(file.records.items()), file.path)
        if first != file.path:
            raise CheckpointError(
                file.path,
                expected="a rank's own part of the model",
                found=f"the file of {first.parent.name} again",
                hint="It was copied over this one: copy the whole folder again.",
            )


def _state_in(file: TorchFile) -> dict[str, Any]:
    if not isinstance(file.value, dict):
        raise CheckpointError(
            file.path,
            expected="a mapping with model and args",
            found=type(file.value).__name__,
            hint="Is this file from another program?",
        )
    return file.value


def _files_by_rank(folder: Path) -> dict[tuple[int, int], Path]:
    """Find the file of each (tensor rank, pipeline stage)."""
    files: dict[tuple[int, int], Path] = {}
    for match in filter(None, map(_FOLDER.fullmatch, _names(folder))):
        file = folder / match[0] / FILE_NAME
        if not file.is_file() and (file.parent / _WITHOUT_OPTIMIZER).is_file():
            file = file.parent / _WITHOUT_OPTIMIZER
        if not file.is_file() and any(
            (file.parent / f).is_file() for f in _OPTIMIZER_FILES
        ):
            continue  # the folder of a data-parallel rank, which holds no weights
        if match[3] and int(match[3][1:]):
            reason = "a third number in a rank's folder counts expert parallelism"
            raise UnsupportedArchitecture(
                file, arg="num_experts", value=match[0], reason=reason
            )
        if not file.is_file():
            raise CheckpointError(
                file,
                expected="this rank's part of the model",
                found="no such file",
                hint="The copy is incomplete: copy the whole folder again.",
            )
        files[int(match[1]), int(match[2] or 0)] = file
    if not files:
        raise CheckpointError(
            folder,
            expected=f"mp_rank_XX folders with {FILE_NAME}",
            found="only those of a distributed optimizer",
            hint="The copy is incomplete: copy the whole folder again.",
        )
    return files


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _check_complete(
    place: Path, files: Mapping[tuple[int, int], Path], fields: Fields
) -> tuple[int, range]:
    """Hold the ranks found against those the args speak of."""
    # model_parallel_size was its name until 2020, when there was no pipeline.
    size = fields.either("tensor_model_parallel_size", "model_parallel_size")
    tensor_ranks = fields.count(size, 1 + max(rank for rank, _ in files))
    last_stage = max(stage for _, stage in files)
    stages = range(fields.count("pipeline_model_parallel_size", 1 + last_stage))
    # The args may speak of more ranks than there is room to list.
    total = tensor_ranks * stages.stop
    found = sum(rank < tensor_ranks and stage in stages for rank, stage in files)
    if found == len(files) == total:
        return tensor_ranks, stages
    lone = place.is_file()
    names = (
        f"mp_rank_{rank:02d}" + (f"_{stage:03d}" if stages.stop > 1 else "")
        for rank in range(tensor_ranks)
        for stage in stages
        if lone or (rank, stage) not in files
    )
    missing = listed(names, total=total if lone else total - found)
    expected = f"{total} ranks: {tensor_ranks} tensor-parallel x {stages.stop} "
    expected += "pipeline-parallel"
    if lone:
        raise CheckpointError(
            place,
            expected=expected,
            found="the file of one",
            hint=f"Pass a folder with {missing}, each with its {FILE_NAME}.",
        )
    raise CheckpointError(
        place,
        expected=expected,
        found=f"{len(files)} " + (f"without {missing}" if missing else "with others"),
        hint="Copy every mp_rank folder of the iteration, and no other.",
    )


def _chunk_keys(state: Mapping[str, Any], path: Path) -> list[str]:
    """Find the virtual stages: ``model``, or ``model0``, ``model1`` and so on."""
    keys = [key for key in state if isinstance(key, str) and re.fullmatch(r"model\d*", key)]
    if not keys or not all(isinstance(state[key], dict) for key in keys):
        raise CheckpointError(
            path,
            expected="a mapping of tensors under 'model'",
            found=listed(state) or "nothing",
            hint="Is this a Megatron checkpoint, and not one of its optimizer alone?",
        )
    return sorted(keys, key=lambda key: (len(key), key))


def _rank_tensors(
    file: TorchFile, model: Any, version: float, heads: int
) -> dict[str, Deferred]:
    """Collect one rank's tensors by canonical name, QKV rows in the core's order."""
    path = file.path
    tensors: dict[str, Deferred] = {}
    for stored_name, value in _flat({} if model is None else model, path):
        if value is None:
            continue
        if not is_weight(stored_name):
            read = partial(_object, file, value)
            tensors |= largest_input_of(stored_name, read, path=path)
            continue
        if not isinstance(value, torch.Tensor):
            raise CheckpointError(
                path,
                tensor=stored_name,
                expected="a plain tensor",
                found=type(value).__name__,
                hint="Save the checkpoint again in bf16, fp16 or fp32.",
            )
        name = canonical_name(stored_name)
        if name in tensors:
            raise UnsupportedArchitecture(
                path, arg="model", value=stored_name, reason="an encoder and a decoder"
            )
        tensor = file.defer(value)
        if ".linear_qkv." in name and heads:
            tensor = grouped_qkv(tensor, version=version, heads=heads)
        tensors[name] = tensor
    return tensors


def _object(file: TorchFile, value: Any) -> Any:
    """Something else than a weight, with its values."""
    return file.defer(value).load(True) if isinstance(value, torch.Tensor) else value


def _flat(nested: Any, path: Path, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Join the keys of nested modules with dots."""
    nameless = isinstance(nested, dict) and any(not isinstance(key, str) for key in nested)
    if not isinstance(nested, dict) or nameless or prefix.count(".") > _DEEPEST:
        raise CheckpointError(
            path,
            expected=f"modules by name, at most {_DEEPEST} deep, under 'model'",
            found=shown(nested),
            hint="Is this file from another program?",
        )
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from _flat(value, path, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
