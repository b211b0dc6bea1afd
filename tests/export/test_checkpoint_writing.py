"""Writing checkpoints.

That megatron-core itself loads them is checked by hand: ``make_checkpoints.py --check``.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from full_disk import files_of_at_most
from torch.distributed.checkpoint.filesystem import FileSystemReader

from megatick_export.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from megatick_export.errors import CheckpointError, UnsupportedArchitecture

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = sorted(folder.parent.name for folder in GOLDEN.glob("*/reference.npz"))


def with_head(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint and a three-class head beside it."""
    architecture = dataclasses.replace(checkpoint.architecture, classes=3)
    hidden = architecture.hidden_size
    head = {
        "classification_head.weight": torch.arange(3.0 * hidden).reshape(3, hidden),
        "classification_head.bias": torch.tensor([1.0, 2.0, 3.0]),
    }
    weights = {**checkpoint.weights, **head}
    return dataclasses.replace(checkpoint, architecture=architecture, weights=weights)


@pytest.fixture
def llama() -> Checkpoint:
    return read_checkpoint(GOLDEN / "llama")


@pytest.mark.parametrize("head", [False, True], ids=["model", "with-head"])
@pytest.mark.parametrize("name", NAMES)
def test_what_was_written_is_read(tmp_path: Path, name: str, head: bool) -> None:
    given = read_checkpoint(GOLDEN / name)
    given = with_head(given) if head else given

    folder = write_checkpoint(
        tmp_path / "new",
        given.architecture,
        given.weights,
        iteration=12,
        args={"tokenizer_type": "HuggingFaceTokenizer", "hidden_size": 1},
    )
    read = read_checkpoint(tmp_path / "new")

    assert read.path == folder == tmp_path / "new" / "iter_0000012"
    assert read.iteration == 12
    assert read.architecture == given.architecture
    assert read.args["tokenizer_type"] == "HuggingFaceTokenizer"
    assert read.args["hidden_size"] == given.architecture.hidden_size
    assert read.weights.keys() == given.weights.keys()
    for key, tensor in given.weights.items():
        assert torch.equal(read.weights[key], tensor), key


def test_half_precision_stays(tmp_path: Path, llama: Checkpoint) -> None:
    weights = {name: tensor.bfloat16() for name, tensor in llama.weights.items()}

    write_checkpoint(tmp_path, llama.architecture, weights)

    read = read_checkpoint(tmp_path)
    assert read.dtype == torch.bfloat16
    assert read.args["bf16"] is True


@pytest.mark.parametrize("name", ["llama", "smollm2", "options"])
def test_it_lies_on_disk_as_megatron_core_lays_it(tmp_path: Path, name: str) -> None:
    """Every key and shape of a golden file, which megatron-core wrote."""
    golden = read_checkpoint(GOLDEN / name)

    folder = write_checkpoint(tmp_path, golden.architecture, golden.weights)

    assert shapes_by_key(folder) == shapes_by_key(golden.path)
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata == json.loads((golden.path / "metadata.json").read_text())
    assert (tmp_path / "latest_checkpointed_iteration.txt").read_text() == "0"


def shapes_by_key(folder: Path) -> dict[str, tuple[int, ...] | None]:
    """Every key PyTorch finds in a distributed checkpoint; None is an object."""
    metadata = FileSystemReader(folder).read_metadata()
    return {
        key: getattr(entry, "size", None)
        for key, entry in metadata.state_dict_metadata.items()
    }


def test_equal_weights_give_equal_bytes(tmp_path: Path, llama: Checkpoint) -> None:
    folders = [
        write_checkpoint(tmp_path / name, llama.architecture, llama.weights)
        for name in ("one", "two")
    ]

    one, two = (
        {file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders
    )
    assert one == two


def test_earlier_iterations_are_kept(tmp_path: Path, llama: Checkpoint) -> None:
    for iteration in (1, 2):
        write_checkpoint(tmp_path, llama.architecture, llama.weights, iteration=iteration)

    assert read_checkpoint(tmp_path).iteration == 2
    assert read_checkpoint(tmp_path / "iter_0000001").iteration == 1
    with pytest.raises(CheckpointError, match=r"iter_0000002.*not there yet"):
        write_checkpoint(tmp_path, llama.architecture, llama.weights, iteration=2)


def test_weights_of_another_model(tmp_path: Path, llama: Checkpoint) -> None:
    architecture = dataclasses.replace(llama.architecture, num_layers=1)

    with pytest.raises(CheckpointError, match=r"decoder\.layers\.1\."):
        write_checkpoint(tmp_path / "new", architecture, llama.weights)
    assert not (tmp_path / "new").exists()


def test_what_no_arg_of_megatron_says(tmp_path: Path, llama: Checkpoint) -> None:
    architecture = dataclasses.replace(llama.architecture, activation="squared_relu")

    with pytest.raises(UnsupportedArchitecture, match="gated=True"):
        write_checkpoint(tmp_path / "new", architecture, llama.weights)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["geglu_tp2_dist", "geglu_tanh_nope"])
def test_a_geglu_comes_back(tmp_path: Path, name: str) -> None:
    whole = read_checkpoint(GOLDEN / name)

    write_checkpoint(tmp_path, whole.architecture, whole.weights)

    assert read_checkpoint(tmp_path).architecture == whole.architecture


def test_weights_that_are_no_numbers(tmp_path: Path, llama: Checkpoint) -> None:
    weights = dict(llama.weights)
    weights["output_layer.weight"] = torch.full((128, 32), math.nan)

    with pytest.raises(CheckpointError, match=r"output_layer\.weight.*4096 of 4096 NaN"):
        write_checkpoint(tmp_path / "new", llama.architecture, weights)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be(tmp_path: Path, llama: Checkpoint) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(CheckpointError, match=r"file/new/iter_0000000.*Not a directory"):
        write_checkpoint(tmp_path / "file" / "new", llama.architecture, llama.weights)


def test_no_room_for_the_tracker(
    tmp_path: Path, llama: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last to be written, and without it nothing of the rest is found."""
    write = Path.write_text

    def refuse(path: Path, text: str, **options: Any) -> int:
        if "latest" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, text, **options)

    monkeypatch.setattr(Path, "write_text", refuse)

    with pytest.raises(CheckpointError, match="No space left"):
        write_checkpoint(tmp_path / "new", llama.architecture, llama.weights)
    assert list(tmp_path.iterdir()) == []


LITTLE_ROOM = 16 * 1024


def test_no_room(tmp_path: Path, llama: Checkpoint) -> None:
    refused = pytest.raises(CheckpointError, match="Free some space")
    with refused, files_of_at_most(LITTLE_ROOM):
        write_checkpoint(tmp_path / "new", llama.architecture, llama.weights)

    assert list(tmp_path.iterdir()) == []


def test_no_room_leaves_the_iteration_before(tmp_path: Path, llama: Checkpoint) -> None:
    write_checkpoint(tmp_path, llama.architecture, llama.weights, iteration=1)

    refused = pytest.raises(CheckpointError, match="Free some space")
    with refused, files_of_at_most(LITTLE_ROOM):
        write_checkpoint(tmp_path, llama.architecture, llama.weights, iteration=2)

    assert read_checkpoint(tmp_path).iteration == 1
    assert {file.name for file in tmp_path.iterdir()} == {
        "iter_0000001",
        "latest_checkpointed_iteration.txt",
    }
