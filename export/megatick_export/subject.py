"""What is exported: a checkpoint with its head and tokenizer, checked at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from megatick_export.checkpoint import Checkpoint
from megatick_export.errors import OptionsError, TokenizerError
from megatick_export.evaluation import (
    INVENTED_FOR_FLOAT32,
    INVENTED_TEXTS,
    EvaluationTexts,
    evaluation_texts,
)
from megatick_export.hashes import sha256
from megatick_export.headlines import headlines
from megatick_export.heads import Classifier, classification, zero_shot
from megatick_export.heads.classification import check_classification_head
from megatick_export.options import ExportOptions
from megatick_export.tokenizer import PreparedTokenizer, prepare_tokenizer, tokenized


@dataclass(frozen=True)
class Subject:
    """A checkpoint that is ready to be exported.

    Attributes:
        checkpoint: as it was read.
        classifier: its float32 network, with the head that is exported.
        tokenizer: what turns a text into a row; with a prompt, the text's end included.
        source: the checkpoint's tokenizer, as it was found.
        max_tokens: longest row, in tokens; with a prompt, without the prefix.
        texts: to measure precisions on.
    """

    checkpoint: Checkpoint
    classifier: Classifier
    tokenizer: Tokenizer
    source: PreparedTokenizer
    max_tokens: int
    texts: EvaluationTexts

    def rows(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """Tokenize texts as the server does; each row keeps its head.

        Raises:
            TokenizerError: it fails on one of them.
        """
        try:
            return tokenized(self.tokenizer, texts, max_tokens=self.max_tokens)
        except Exception as error:  # the Rust side raises bare Exception
            raise TokenizerError(
                self.source.source.files[0], f"cannot read one of the texts: {error}"
            ) from error

    def write_tokenizer(self, path: Path) -> None:
        """Write the ``tokenizer.json`` that is served."""
        if self.classifier.prompt is None:
            self.source.write(path)
        else:
            path.write_text(self.tokenizer.to_str(pretty=True), "utf-8")

    def tokenizer_evidence(self) -> dict[str, Any]:
        """What the receipt says of the tokenizer."""
        files = {str(file): sha256(file) for file in self.source.source.files}
        return {**self.source.evidence(), "files": files}


def prepare(checkpoint: Checkpoint, options: ExportOptions) -> Subject:
    """Check head, tokenizer and texts, and build the reference network.

    Raises:
        ExportError: one of them does not fit.
    """
    if options.prompt is None:
        check_classification_head(checkpoint, options.labels)
    window = min(options.max_tokens, checkpoint.architecture.max_position_embeddings)
    source = prepare_tokenizer(checkpoint, options.tokenizer, max_tokens=window)
    if options.prompt is None or options.verbalizers is None:
        classifier, tokenizer = classification(checkpoint, options.labels), source.tokenizer
    else:
        classifier, tokenizer = zero_shot(
            checkpoint,
            source.tokenizer,
            template=options.prompt,
            verbalizers=options.verbalizers,
            labels=options.labels,
            max_tokens=window,
        )
    float32_alone = options.precision == "fp32"
    texts = evaluation_texts(
        options.calibration,
        classifier.labels,
        invented=INVENTED_FOR_FLOAT32 if float32_alone else INVENTED_TEXTS,
    )
    longest = window - len(classifier.prefix_ids)
    subject = Subject(checkpoint, classifier, tokenizer, source, longest, texts)
    return replace(subject, texts=_with_tokens(subject))


def _with_tokens(subject: Subject) -> EvaluationTexts:
    """Leave out what holds nothing that the tokenizer knows, as a server refuses it.

    Raises:
        TokenizerError: a plain headline is such a text.
        OptionsError: all of the texts are.
    """
    plain = headlines(INVENTED_FOR_FLOAT32)
    for text, row in zip(plain, subject.rows(plain), strict=True):
        if not len(row):
            raise TokenizerError(
                subject.source.source.files[0],
                f"has no token for anything in {text!r}: expected the tokenizer that the "
                "model was trained with",
            )
    texts = subject.texts
    read = np.array([len(row) > 0 for row in subject.rows(texts.texts)])
    if not read.any():
        raise OptionsError(
            "calibration",
            expected="texts that hold something the tokenizer knows",
            found=f"none in {texts.source}",
        )
    return texts.take(read)
