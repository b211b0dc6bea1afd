"""Checkpoints that run code, and checkpoints that broke on the way."""

from __future__ import annotations

import argparse
import io
import math
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import MetadataIndex

from megatick_export.checkpoint import read_checkpoint
from megatick_export.checkpoint.pickles import imported_names, load_torch_file
from megatick_export.errors import (
    CheckpointError,
    HostileCheckpoint,
    UnsupportedArchitecture,
)

GOLDEN = Path(__file__).parents[1] / "golden"
RANK_FILE = "iter_0000007/mp_rank_00/model_optim_rng.pt"
COMMON_FILE = "iter_0000007/common.pt"


class RunsCode:
    """Unpickled plainly, it makes a folder."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.reduced = (call, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.reduced


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What a hostile pickle would make."""
    return tmp_path / "pwned"


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """Copy a golden checkpoint to a place where it may be spoilt."""
    return lambda name: Path(shutil.copytree(GOLDEN / name, tmp_path / name))


def test_the_pickles_here_do_run_code(marker: Path) -> None:
    """Otherwise the tests below would pass on anything."""
    pickle.loads(pickle.dumps(RunsCode(os.mkdir, str(marker))))

    assert marker.is_dir()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "torch-before-1.6"])
@pytest.mark.parametrize(
    ("call", "named"),
    [(os.mkdir, "posix.mkdir"), (eval, "builtins.eval"), (torch.load, "torch.")],
    ids=["mkdir", "eval", "torch.load"],
)
def test_a_rank_file_that_runs_code(
    copied: Callable[[str], Path],
    marker: Path,
    call: Callable[..., object],
    named: str,
    zipped: bool,
) -> None:
    folder = copied("gpt2")
    argument = f"__import__('os').mkdir({str(marker)!r})" if call is eval else marker
    torch.save(
        {"model": {}, "args": RunsCode(call, str(argument))},
        folder / RANK_FILE,
        _use_new_zipfile_serialization=zipped,
    )

    with pytest.raises(HostileCheckpoint) as refusal:
        read_checkpoint(folder)

    assert refusal.value.imported.startswith(named)
    assert str(folder / RANK_FILE) in str(refusal.value)
    assert refusal.value.imported in str(refusal.value)
    assert not marker.exists()


def test_a_common_state_that_runs_code(copied: Callable[[str], Path], marker: Path) -> None:
    folder = copied("llama")
    torch.save({"args": RunsCode(os.mkdir, str(marker))}, folder / COMMON_FILE)

    with pytest.raises(HostileCheckpoint, match=r"common\.pt.*'posix\.mkdir'"):
        read_checkpoint(folder)
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_metadata_that_runs_code(
    copied: Callable[[str], Path], marker: Path, protocol: int
) -> None:
    folder = copied("llama")
    pickled = pickle.dumps(RunsCode(os.mkdir, str(marker)), protocol)
    (folder / "iter_0000007" / ".metadata").write_bytes(pickled)

    with pytest.raises(HostileCheckpoint, match=r"\.metadata.*'posix\.mkdir'"):
        read_checkpoint(folder)
    assert not marker.exists()


def test_a_chunk_that_runs_code(copied: Callable[[str], Path], marker: Path) -> None:
    folder = copied("llama")
    payload = io.BytesIO()
    torch.save(RunsCode(os.mkdir, str(marker)), payload)
    for shard in (folder / "iter_0000007").glob("*.distcp"):
        rest = shard.stat().st_size - len(payload.getvalue())
        shard.write_bytes(payload.getvalue() + bytes(rest))

    # A chunk may be read with its neighbours' bytes behind it: refused either way.
    with pytest.raises((HostileCheckpoint, CheckpointError)):
        read_checkpoint(folder)
    assert not marker.exists()


def test_a_chunk_names_a_file_elsewhere(copied: Callable[[str], Path]) -> None:
    folder = copied("llama")
    metadata = folder / "iter_0000007" / ".metadata"
    spoilt = metadata.read_bytes().replace(b"__0_0.distcp", b"../../etc/pw")
    metadata.write_bytes(spoilt)

    with pytest.raises(CheckpointError, match=r"same folder, found '\.\./\.\./etc/pw'"):
        read_checkpoint(folder)


def test_a_hidden_import_is_left_to_torchs_loader(
    tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the scan misses, the unpickler does not know either."""
    file = tmp_path / "hidden.pt"
    torch.save(RunsCode(os.mkdir, str(marker)), file)
    monkeypatch.setattr(
        "megatick_export.checkpoint.pickles._names_in_zip", lambda stream: iter(())
    )

    with pytest.raises(CheckpointError, match="safe loader refuses") as refusal:
        load_torch_file(file)
    assert "weights_only" not in str(refusal.value)  # torch's own advice
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_import_of_a_pickle_is_listed(protocol: int) -> None:
    # The second mention of a module comes from the memo, not as a string.
    pickled = pickle.dumps([os.mkdir, os.rmdir, os.mkdir], protocol)

    names = list(imported_names(io.BytesIO(pickled)))

    assert set(names) == {"posix.mkdir", "posix.rmdir"}


ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)

WRONG_ARGS = [
    ("hidden_size", "32"),
    ("hidden_size", 32.0),
    ("hidden_size", True),
    ("hidden_size", 10**600),
    ("num_layers", 2**40),
    ("num_attention_heads", [4]),
    ("num_attention_heads", -4),
    ("kv_channels", "eight"),
    ("ffn_hidden_size", {}),
    ("padded_vocab_size", "128"),
    ("norm_epsilon", "small"),
    ("norm_epsilon", math.nan),
    ("rotary_base", "10000"),
    ("rotary_base", 0),
    ("rotary_percent", math.inf),
    ("rotary_percent", 1.5),
    ("rotary_percent", 0.0),
    ("position_embedding_type", ["rope"]),
    ("normalization", 5),
    ("swiglu", "False"),
    ("add_bias_linear", 2),
    ("group_query_attention", torch.ones(2)),
    ("tensor_model_parallel_size", "one"),
    ("tensor_model_parallel_size", ENDLESS),
    ("pipeline_model_parallel_size", 1.5),
]


def shortly(value: object) -> str:
    """Name a test: pytest itself would write all the digits."""
    return value if isinstance(value, str) and len(value) < 40 else type(value).__name__


def spoil(path: Path, **changes: Any) -> Path:
    """Write a golden file again with other things in it; ``args_x`` changes the arg x."""
    whole = read_checkpoint(path if path.name.startswith("model") else path.parent)
    args = dict[str, Any](whole.args)
    for name in [name for name in changes if name.startswith("args_")]:
        args[name.removeprefix("args_")] = changes.pop(name)
    state: dict[str, Any] = {"args": argparse.Namespace(**args), "checkpoint_version": 3.0}
    if path.name.startswith("model"):
        state["model"] = dict(whole.weights)
    content = io.BytesIO()  # the file itself is mapped into the weights
    torch.save({**state, **changes}, content)
    path.write_bytes(content.getvalue())
    return path


@pytest.mark.parametrize(("arg", "value"), WRONG_ARGS, ids=shortly)
def test_an_arg_that_is_none_of_its_kind(
    copied: Callable[[str], Path], arg: str, value: object
) -> None:
    path = spoil(copied("gpt2") / RANK_FILE, **{f"args_{arg}": value})

    with pytest.raises(CheckpointError) as refusal:
        read_checkpoint(path)

    message = str(refusal.value)
    assert arg in message
    assert str(path.parents[1]) in message
    assert len(message) < 300 + len(str(path))
    assert "\n" not in message


@pytest.mark.parametrize("arg", ["tensor_model_parallel_size", "num_attention_heads"])
def test_an_arg_of_another_type_in_torch_dist(
    copied: Callable[[str], Path], arg: str
) -> None:
    folder = copied("llama")
    spoil(folder / COMMON_FILE, **{f"args_{arg}": "one"})

    with pytest.raises(CheckpointError, match=f"whole number >= 1 in the field {arg}"):
        read_checkpoint(folder)


@pytest.mark.parametrize("value", [torch.ones(2), [10**600], "x" * 1000], ids=shortly)
def test_a_forbidden_arg_is_shown_shortly(
    copied: Callable[[str], Path], value: object
) -> None:
    path = spoil(copied("gpt2") / RANK_FILE, args_num_experts=value)

    with pytest.raises(UnsupportedArchitecture, match="num_experts=") as refusal:
        read_checkpoint(path)
    assert len(str(refusal.value)) < 300 + len(str(path))


@pytest.mark.parametrize("args", [{}, {"hidden_size": 32}, 5, [], "args"], ids=str)
@pytest.mark.parametrize("absent_args", [None, {"num_layers": 2}], ids=["", "absent_args"])
@pytest.mark.parametrize(("name", "file"), [("gpt2", RANK_FILE), ("llama", COMMON_FILE)])
def test_args_that_are_no_namespace(
    copied: Callable[[str], Path],
    args: object,
    absent_args: dict[str, int] | None,
    name: str,
    file: str,
) -> None:
    folder = copied(name)
    path = spoil(folder / file, args=args)

    with pytest.raises(CheckpointError, match=r"expected the run's args as") as refusal:
        read_checkpoint(folder, absent_args=absent_args)
    assert refusal.value.path == path


@pytest.mark.parametrize("value", ["7", -1, 1.5, [7], 10**600, True], ids=shortly)
@pytest.mark.parametrize(("name", "file"), [("gpt2", RANK_FILE), ("llama", COMMON_FILE)])
def test_an_iteration_of_another_type(
    copied: Callable[[str], Path], value: object, name: str, file: str
) -> None:
    folder = copied(name)
    spoil(folder / file, iteration=value)

    with pytest.raises(CheckpointError, match=r"whole number >= 0 in the field iteration"):
        read_checkpoint(folder)


@pytest.mark.parametrize("value", ["three", -1.0, math.nan, [3.0], {}], ids=shortly)
def test_a_version_of_another_type(copied: Callable[[str], Path], value: object) -> None:
    path = spoil(copied("gpt2") / RANK_FILE, checkpoint_version=value)

    with pytest.raises(CheckpointError, match="number >= 0 in the field checkpoint_ver"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("sizes", "missing"),
    [
        (
            (3_000_000, 1),
            "3000000 ranks: 3000000 tensor-parallel x 1 pipeline-parallel, found 1 without "
            "mp_rank_01, mp_rank_02, mp_rank_03, mp_rank_04, mp_rank_05, mp_rank_06, "
            "mp_rank_07, mp_rank_08 and 2999991 more",
        ),
        ((2**62, 2**62), "mp_rank_00_007, mp_rank_00_008 and "),
    ],
    ids=["millions", "more-than-memory"],
)
def test_more_ranks_than_can_be_listed(
    copied: Callable[[str], Path], sizes: tuple[int, int], missing: str
) -> None:
    folder = copied("gpt2")
    args = {
        "args_tensor_model_parallel_size": sizes[0],
        "args_pipeline_model_parallel_size": sizes[1],
    }
    spoil(folder / RANK_FILE, **args)
    if sizes[1] > 1:
        rank = folder / "iter_0000007" / "mp_rank_00"
        rank.rename(rank.with_name("mp_rank_00_000"))

    with pytest.raises(CheckpointError) as refusal:
        read_checkpoint(folder)
    assert missing in str(refusal.value)
    assert len(str(refusal.value)) < 500 + len(str(folder))


@pytest.mark.parametrize(
    "model", [[1], "text", {1: torch.ones(1)}, {"a": {1: 2}}, {"deep": None}], ids=str
)
def test_a_model_of_other_things(copied: Callable[[str], Path], model: Any) -> None:
    if model == {"deep": None}:
        model["deep"] = model
    path = spoil(copied("gpt2") / RANK_FILE, model=model)

    with pytest.raises(CheckpointError, match="under 'model'"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "name",
    [
        "embedding.word_embeddings.weight",
        "decoder.layers.0.self_attention.linear_qkv.weight",
        "decoder.layers.0.mlp.linear_fc1.weight",
    ],
)
@pytest.mark.parametrize("version", [0.0, 3.0])
def test_a_weight_without_dimensions(
    copied: Callable[[str], Path], name: str, version: float
) -> None:
    path = copied("gpt2") / RANK_FILE
    model = dict(read_checkpoint(path).weights)
    model[name] = torch.tensor(1.0)
    spoil(path, model=model, checkpoint_version=version)

    with pytest.raises(CheckpointError, match=r"of shape \(\)") as refusal:
        read_checkpoint(path)
    assert refusal.value.tensor == name


TRUNCATED = [
    ("gpt2", RANK_FILE),
    ("llama", COMMON_FILE),
    ("llama", "iter_0000007/.metadata"),
    ("llama", "iter_0000007/__0_0.distcp"),
    ("llama", "iter_0000007/__0_1.distcp"),
]


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
@pytest.mark.parametrize(("name", "file"), TRUNCATED)
def test_a_truncated_file_is_named(
    copied: Callable[[str], Path], name: str, file: str, kept: float
) -> None:
    path = copied(name) / file
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])

    with pytest.raises(CheckpointError) as refusal:
        read_checkpoint(path.parents[file.count("/")])

    assert refusal.value.path == path
    assert "copy" in refusal.value.hint.lower()


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_one_flipped_bit_of_a_weight_is_told(
    copied: Callable[[str], Path], name: str
) -> None:
    """In a rank's file, and in a chunk of torch_dist."""
    folder = copied(name)
    weight = read_checkpoint(folder).weights["decoder.final_layernorm.weight"]
    values = weight.view(torch.uint8).numpy().tobytes()
    path = next(
        file
        for file in folder.rglob("*_*")
        if file.is_file() and values in file.read_bytes()
    )
    content = bytearray(path.read_bytes())
    content[content.index(values)] ^= 1
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=r"expected \d+ bytes of CRC-32") as refusal:
        read_checkpoint(folder)

    assert refusal.value.path == path


def test_one_flipped_bit_of_an_arg_is_told(copied: Callable[[str], Path]) -> None:
    folder = copied("llama")
    path = folder / COMMON_FILE
    content = bytearray(path.read_bytes())
    content[content.index(b"rotary_base")] ^= 1
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=r"common\.pt: .* Bad CRC-32"):
        read_checkpoint(folder)


def test_a_file_without_checksums_is_read(tmp_path: Path) -> None:
    saved = torch.arange(100.0)
    torch.serialization.set_crc32_options(compute_crc32=False)
    try:
        torch.save({"saved": saved}, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(compute_crc32=True)

    file = load_torch_file(tmp_path / "a.pt")

    assert isinstance(file.value, dict)
    assert torch.equal(file.defer(file.value["saved"]).load(True), saved)


@pytest.mark.parametrize(("name", "file"), TRUNCATED)
def test_a_missing_file_is_named(
    copied: Callable[[str], Path], name: str, file: str
) -> None:
    path = copied(name) / file
    path.unlink()

    with pytest.raises(CheckpointError, match=path.name):
        read_checkpoint(path.parents[file.count("/")])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"[" * 10**5], ids=len)
def test_metadata_json_of_nonsense(copied: Callable[[str], Path], content: bytes) -> None:
    folder = copied("llama")
    (folder / "iter_0000007" / "metadata.json").write_bytes(content)

    with pytest.raises(CheckpointError, match=r"metadata\.json: expected JSON"):
        read_checkpoint(folder)


@pytest.mark.parametrize("content", [{"a": 1}, [1], "text", {"state_dict_metadata": {}}])
def test_metadata_of_another_program(copied: Callable[[str], Path], content: Any) -> None:
    folder = copied("llama")
    (folder / "iter_0000007" / ".metadata").write_bytes(pickle.dumps(content))

    with pytest.raises(CheckpointError, match=r"\.metadata: expected the metadata"):
        read_checkpoint(folder)


def test_a_damaged_zip_directory_is_named(copied: Callable[[str], Path]) -> None:
    path = copied("gpt2") / RANK_FILE
    content = bytearray(path.read_bytes())
    version_needed = content.index(b"PK\x01\x02") + 6  # of the first record
    content[version_needed] = 255
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=r"model_optim_rng\.pt.*zip file version"):
        read_checkpoint(path.parent)


def test_a_record_that_was_compressed(copied: Callable[[str], Path]) -> None:
    """Its bytes are not the tensor's; torch itself would map them as if they were."""
    path = copied("gpt2") / RANK_FILE
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, content)

    with pytest.raises(CheckpointError, match=r"model_optim_rng\.pt: expected an uncom"):
        read_checkpoint(path)


@pytest.mark.parametrize("moved_to", [(5, 0, 0), (-1, 0, 0)])
def test_a_chunk_outside_its_tensor(
    copied: Callable[[str], Path], moved_to: tuple[int, ...]
) -> None:
    folder = copied("llama") / "iter_0000007"
    metadata = FileSystemReader(folder).read_metadata()
    key = "decoder.layers.self_attention.linear_proj.weight"
    index = next(index for index in metadata.storage_data if index.fqn == key)
    place = metadata.storage_data.pop(index)
    moved = MetadataIndex(key, torch.Size(moved_to))
    metadata.storage_data[moved] = place
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))

    with pytest.raises(CheckpointError, match="some of them outside") as refusal:
        read_checkpoint(folder)
    assert refusal.value.tensor == key


def test_a_layer_with_more_than_its_share(copied: Callable[[str], Path]) -> None:
    """Layer 1's gate moved into layer 0: as many values as there should be in all."""
    folder = copied("llama") / "iter_0000007"
    metadata = FileSystemReader(folder).read_metadata()
    key = "decoder.layers.mlp.linear_fc1.weight"
    stored = metadata.storage_data
    gate = next(i for i in stored if i.fqn == key and i.offset == torch.Size((1, 0, 0)))
    stored[MetadataIndex(key, torch.Size((0, 24, 0)))] = stored.pop(gate)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))

    with pytest.raises(CheckpointError, match="fill each of 2 layers once, found 4608, 15"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [("offset", -5), ("offset", "x"), ("length", -5), ("length", 2**70), ("length", None)],
)
def test_a_chunk_outside_its_file(
    copied: Callable[[str], Path], field: str, value: object
) -> None:
    folder = copied("llama") / "iter_0000007"
    metadata = FileSystemReader(folder).read_metadata()
    setattr(next(iter(metadata.storage_data.values())), field, value)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))

    with pytest.raises(CheckpointError):
        read_checkpoint(folder)
