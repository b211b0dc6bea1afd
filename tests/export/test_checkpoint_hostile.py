"""Checkpoints that run code, and checkpoints that broke on the way."""

from __future__ import annotations

import io
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import MetadataIndex

from megatick_export.checkpoint import read_checkpoint
from megatick_export.checkpoint.pickles import imported_names, load_torch_file
from megatick_export.errors import CheckpointError, HostileCheckpoint

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


@pytest.mark.parametrize(("name", "file"), TRUNCATED)
def test_a_missing_file_is_named(
    copied: Callable[[str], Path], name: str, file: str
) -> None:
    path = copied(name) / file
    path.unlink()

    with pytest.raises(CheckpointError, match=path.name):
        read_checkpoint(path.parents[file.count("/")])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}"])
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
