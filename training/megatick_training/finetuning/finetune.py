"""A Megatron checkpoint and labelled texts in, a fine-tuned Megatron checkpoint out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils.class_weight import compute_class_weight
from tokenizers import Tokenizer
from torch import Tensor, nn

from megatick_contract import LABELS
from megatick_export import reference_network
from megatick_export.checkpoint import Checkpoint, write_checkpoint
from megatick_export.hashes import sha256
from megatick_export.network import Network
from megatick_export.packed import PackedClassifier
from megatick_export.tokenizer import tokenized
from megatick_training.errors import NothingToPredict
from megatick_training.finetuning.batches import Rows
from megatick_training.finetuning.calibration import fit_temperature
from megatick_training.finetuning.fp8 import multiply_in_fp8
from megatick_training.finetuning.lora import adapter_of, add_lora, lora_layers, merged
from megatick_training.finetuning.options import TrainingOptions
from megatick_training.finetuning.tasks import Classification, Language, classified
from megatick_training.finetuning.trainer import Look, Trainer
from megatick_training.labelled_text import LabelledTexts
from megatick_training.texts import Texts

HEAD: Final = ("classification_head.weight", "classification_head.bias")
STATE_FILE: Final = "training.state"

_SYMBOLS: Final = re.compile(r"\s*[$@#]\w*[^\W\d]\w*")
_DEV_TOKENS: Final = 4096


@dataclass(frozen=True)
class Watcher:
    """Whom to tell how training goes.

    Attributes:
        step: of steps done, steps in all, and the step's loss.
        look: of every look at the dev rows.
    """

    step: Callable[[int, int, float], None] = lambda done, steps, loss: None
    look: Callable[[Look], None] = lambda look: None


@dataclass(frozen=True)
class Trained:
    """What training gave.

    Attributes:
        checkpoint: what was given, with the new weights.
        adapter: half precision, head included; None where every weight was trained.
        looks: at the dev rows, in order.
        temperature: that the head was divided by; None without a head.
    """

    checkpoint: Checkpoint
    adapter: Mapping[str, Tensor] | None
    looks: Sequence[Look]
    temperature: float | None

    def write(self, path: Path) -> Path:
        """Write the next iteration of a Megatron checkpoint.

        Raises:
            CheckpointError: the folder cannot be written, or has it.
        """
        return write_checkpoint(
            path,
            self.checkpoint.architecture,
            self.checkpoint.weights,
            iteration=self.checkpoint.iteration,
            args=self.checkpoint.args,
        )


def finetune(
    checkpoint: Checkpoint,
    tokenizer: Tokenizer,
    *,
    train: LabelledTexts,
    dev: LabelledTexts,
    options: TrainingOptions,
    state: Path,
    device: torch.device,
    watcher: Watcher,
) -> Trained:
    """Train a classifier; the best look at the dev rows is kept.

    Adapters are rounded to half precision before they are added to the weights, so that
    what is judged is what can be shipped.  The head is divided by a temperature fitted on
    the dev rows, so that its probabilities are calibrated.

    Args:
        checkpoint: with a classification head of the contract's classes, in its order.
        tokenizer: as it will be served.
        train: to train on.
        dev: to choose the best look and the temperature by.
        options: how.
        state: file that keeps the run until it is done.
        device: where to train.
        watcher: told how it goes.

    Raises:
        TrainingError: the state is another run's, the loss diverged, or FP8 is asked for
            where there is none.
    """
    network = reference_network(checkpoint).to(device)
    parameters = _trained_parameters(network, options, device)
    for name in HEAD:
        parameters[name] = _own(network.get_parameter(name))
    classifier = PackedClassifier(network)
    dev_rows = tokenized(tokenizer, dev.texts, max_tokens=options.max_tokens)
    rows = [tokenized(tokenizer, train.texts, max_tokens=options.max_tokens)]
    if options.symbol_dropout:
        bare = [without_symbols(text) or text for text in train.texts]
        rows.append(tokenized(tokenizer, bare, max_tokens=options.max_tokens))
    task = Classification(
        classifier,
        rows=rows,
        classes=train.classes,
        dev_rows=dev_rows,
        dev_classes=dev.classes,
        class_weights=_class_weights(train.classes) if options.balanced else None,
        label_smoothing=options.label_smoothing,
        dropped=options.symbol_dropout,
        max_batch_tokens=_DEV_TOKENS,
        seed=options.seed,
        device=device,
    )
    looks = Trainer(
        task,
        parameters,
        options,
        state=state,
        run=_run_name(checkpoint, tokenizer, options, train, dev),
        device=device,
        module=classifier,
        watch=watcher.step,
        looked=watcher.look,
    ).train()
    weights, adapter = _weights(checkpoint, network)
    trained = _next(checkpoint, weights, looks)
    logits = classified(
        PackedClassifier(reference_network(trained).to(device)),
        dev_rows,
        max_batch_tokens=_DEV_TOKENS,
        device=device,
    )
    temperature = fit_temperature(logits, dev.classes)
    head = {name: (weights[name].float() / temperature).half() for name in HEAD}
    weights |= {name: rows.float() for name, rows in head.items()}
    return Trained(
        replace(trained, weights=weights),
        None if adapter is None else {**adapter, **head},
        looks,
        temperature,
    )


def continue_pretraining(
    checkpoint: Checkpoint,
    tokenizer: Tokenizer,
    *,
    train: Texts,
    dev: Texts,
    options: TrainingOptions,
    state: Path,
    device: torch.device,
    watcher: Watcher,
) -> Trained:
    """Train a GPT on plain text: each next token, by its cross-entropy.

    Texts longer than ``max_tokens`` are cut into rows, none of them lost; a row of one
    token has nothing to predict and is left out.  Arguments are ``finetune``'s.

    Raises:
        NothingToPredict: no row of the training or of the dev texts is left.
        TrainingError: as ``finetune``.
    """
    rows, dev_rows = (
        language_rows(tokenizer, each.texts, max_tokens=options.max_tokens)
        for each in (train, dev)
    )
    for name, found in (("training", rows), ("dev", dev_rows)):
        if not found:
            raise NothingToPredict(name)
    network = reference_network(checkpoint).to(device)
    parameters = _trained_parameters(network, options, device)
    task = Language(
        network,
        rows=rows,
        dev_rows=dev_rows,
        max_batch_tokens=options.max_batch_tokens,
        device=device,
    )
    looks = Trainer(
        task,
        parameters,
        options,
        state=state,
        run=_run_name(checkpoint, tokenizer, options, train, dev),
        device=device,
        module=network,
        watch=watcher.step,
        looked=watcher.look,
    ).train()
    weights, adapter = _weights(checkpoint, network)
    return Trained(_next(checkpoint, weights, looks), adapter, looks, None)


def without_symbols(text: str) -> str:
    """Take cashtags, hashtags and handles out of a text.

    >>> without_symbols("$BYND - JPMorgan reels in expectations $6")
    'JPMorgan reels in expectations $6'
    """
    return _SYMBOLS.sub("", text).strip(" -:")


def language_rows(tokenizer: Tokenizer, texts: Sequence[str], *, max_tokens: int) -> Rows:
    """Tokenize plain texts and cut them into rows of 2 to ``max_tokens`` tokens."""
    own = Tokenizer.from_str(tokenizer.to_str())
    own.no_padding()
    own.no_truncation()
    own.encode_special_tokens = True
    rows = []
    for encoding in own.encode_batch(list(texts), add_special_tokens=False):
        ids = np.array(encoding.ids, np.int32)
        parts = (ids[at : at + max_tokens] for at in range(0, len(ids), max_tokens))
        rows += [part for part in parts if len(part) > 1]
    return rows


def _trained_parameters(
    network: Network, options: TrainingOptions, device: torch.device
) -> dict[str, nn.Parameter]:
    if options.lora_rank:
        torch.manual_seed(options.seed)
        add_lora(
            network,
            rank=options.lora_rank,
            alpha=options.lora_alpha,
            dropout=options.lora_dropout,
        )
    if options.precision == "fp8":
        multiply_in_fp8(network, device)
    if not options.lora_rank:
        return {name: _own(each) for name, each in network.named_parameters()}
    return {
        f"{name}.{part}": getattr(layer, part)
        for name, layer in lora_layers(network)
        for part in ("down", "up")
    }


def _own(parameter: nn.Parameter) -> nn.Parameter:
    """Let it be trained, without touching the checkpoint that it shares its memory with."""
    parameter.data = parameter.data.clone()
    parameter.requires_grad = True
    return parameter


def _weights(
    checkpoint: Checkpoint, network: Network
) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """The new weights on the CPU in the checkpoint's dtypes, and the adapter if any."""
    names = checkpoint.weights
    if any(True for _ in lora_layers(network)):
        adapter = {name: part.cpu().half() for name, part in adapter_of(network).items()}
        weights = merged(names, adapter)
        for name in HEAD:
            if name in names:
                weights[name] = network.get_parameter(name).detach().cpu()
        return weights, adapter
    found = network.state_dict()
    return {name: found[name].cpu().to(names[name].dtype) for name in names}, None


def _next(
    checkpoint: Checkpoint, weights: Mapping[str, Tensor], looks: Sequence[Look]
) -> Checkpoint:
    best = max(looks, key=lambda look: look.score)
    return replace(checkpoint, weights=weights, iteration=checkpoint.iteration + best.step)


def _class_weights(classes: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    present = np.unique(classes)
    weights = np.ones(len(LABELS), np.float32)
    weights[present] = compute_class_weight("balanced", classes=present, y=classes)
    return weights


def _run_name(
    checkpoint: Checkpoint, tokenizer: Tokenizer, options: TrainingOptions, *sets: Texts
) -> str:
    """Hash whatever another run of the same outcome must have alike."""
    digest = hashlib.sha256()
    for told in (options.model_dump_json(), checkpoint.architecture, tokenizer.to_str()):
        digest.update(hashlib.sha256(str(told).encode()).digest())
    for file in checkpoint.files:
        digest.update(sha256(file).encode())
    for name in HEAD:  # it may be new, and in no file
        if name in checkpoint.weights:
            digest.update(checkpoint.weights[name].float().numpy().tobytes())
    for each in sets:
        digest.update(len(each).to_bytes(8))
        for text in each.texts:
            digest.update(hashlib.sha256(text.encode()).digest())
        if isinstance(each, LabelledTexts):
            digest.update(each.classes.tobytes())
    return digest.hexdigest()
