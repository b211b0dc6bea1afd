"""Reading the ``torch`` layout: one ``mp_rank_XX[_YYY]/model_optim_rng.pt`` a rank.

XX is the tensor-parallel rank, YYY the pipeline stage.  Megatron before its core (2019 to
2023) nested dictionaries by module; its core writes flat names.  Both are read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch

from megatick_export.checkpoint.merge import grouped_qkv, join_ranks, join_stages
from megatick_export.checkpoint.names import canonical_name, is_weight
from megatick_export.checkpoint.pickles import load_torch_file
from megatick_export.checkpoint.stored import Stored, args_in
from megatick_export.errors import CheckpointError, UnsupportedArchitecture

FILE_NAME: Final = "model_optim_rng.pt"
_FOLDER: Final = re.compile(r"mp_rank_(\d+)(?:_(\d+))?(_\d+)?")


def rank_folders(folder: Path) -> list[Path]:
    """List the ranks' folders of one iteration."""
    return [folder / name for name in _names(folder) if _FOLDER.fullmatch(name)]


def read_rank_files(folder: Path, absent_args: Mapping[str, Any] | None) -> Stored:
    """Read and join all ranks of one iteration's folder.

    Raises:
        CheckpointError: a rank is missing, a file is truncated, or no args are there.
        HostileCheckpoint: a pickle names something outside the allow-list.
        UnsupportedArchitecture: the folders are those of expert parallelism.
    """
    files = _files_by_rank(folder)
    first_file = files[min(files)]
    states = {rank: load_torch_file(file) for rank, file in files.items()}
    for rank, state in states.items():
        if not isinstance(state, dict):
            raise CheckpointError(
                files[rank],
                expected="a mapping with model and args",
                found=type(state).__name__,
                hint="Is this file from another program?",
            )
    first = states[min(states)]
    args = args_in(first, absent_args, path=first_file)
    tensor_ranks, stages = _check_complete(folder, files, args)
    chunks = _chunk_keys(first, first_file)
    legacy = "language_model" in first[chunks[0]]
    heads = int(args.get("num_attention_heads") or 0) // tensor_ranks
    version = float(first.get("checkpoint_version", 0))

    def stage(chunk: str, number: int) -> dict[str, torch.Tensor]:
        ranks = [
            _rank_tensors(
                states[rank, number].get(chunk), files[rank, number], version, heads
            )
            for rank in range(tensor_ranks)
        ]
        gated = bool(args.get("swiglu"))
        return join_ranks(ranks, gated=gated, path=folder)

    return Stored(
        layout="torch",
        args=args,
        iteration=int(first.get("iteration") or 0),
        weights=join_stages(stage(c, number) for c in chunks for number in stages),
        files=tuple(sorted(files.values())),
        tensor_parallel=tensor_ranks,
        pipeline_parallel=len(stages),
        legacy_models=legacy,
    )


def _files_by_rank(folder: Path) -> dict[tuple[int, int], Path]:
    """Find the file of each (tensor rank, pipeline stage)."""
    files: dict[tuple[int, int], Path] = {}
    for match in filter(None, map(_FOLDER.fullmatch, _names(folder))):
        file = folder / match[0] / FILE_NAME
        if match[3]:
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
    return files


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _check_complete(
    folder: Path, files: Mapping[tuple[int, int], Path], args: Mapping[str, Any]
) -> tuple[int, range]:
    """Hold the ranks found against those the args speak of."""
    # model_parallel_size was its name until 2020, when there was no pipeline.
    size = args.get("tensor_model_parallel_size") or args.get("model_parallel_size")
    tensor_ranks = int(size or 1 + max(rank for rank, _ in files))
    size = args.get("pipeline_model_parallel_size")
    stages = range(int(size or 1 + max(stage for _, stage in files)))
    needed = {(rank, stage) for rank in range(tensor_ranks) for stage in stages}
    if needed != files.keys():
        names = [
            f"mp_rank_{rank:02d}" + (f"_{stage:03d}" if len(stages) > 1 else "")
            for rank, stage in sorted(needed - files.keys())
        ]
        missing = f"without {', '.join(names)}" if names else "and others besides"
        raise CheckpointError(
            folder,
            expected=f"{len(needed)} ranks: {tensor_ranks} tensor-parallel x "
            f"{len(stages)} pipeline-parallel",
            found=f"{len(files)} {missing}",
            hint="Copy every mp_rank folder of the iteration.",
        )
    return tensor_ranks, stages


def _chunk_keys(state: Mapping[str, Any], path: Path) -> list[str]:
    """Find the virtual stages: ``model``, or ``model0``, ``model1`` and so on."""
    keys = [key for key in state if re.fullmatch(r"model\d*", str(key))]
    if not keys or not all(isinstance(state[key], dict) for key in keys):
        raise CheckpointError(
            path,
            expected="a mapping of tensors under 'model'",
            found=", ".join(sorted(map(str, state))) or "nothing",
            hint="Is this a Megatron checkpoint, and not one of its optimizer alone?",
        )
    return sorted(keys, key=lambda key: (len(key), key))


def _rank_tensors(
    model: Any, path: Path, version: float, heads: int
) -> dict[str, torch.Tensor]:
    """Collect one rank's tensors by canonical name, QKV rows in the core's order."""
    tensors: dict[str, torch.Tensor] = {}
    for stored_name, value in _flat(model or {}):
        if not is_weight(stored_name):
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
        if ".linear_qkv." in name and heads:
            value = grouped_qkv(value, version=version, heads=heads)
        tensors[name] = value
    return tensors


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
