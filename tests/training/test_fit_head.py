from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from megatick_training.fit_head import fit_rows, judge, write_head
from megatick_training.labelled_text import LabelledTexts


def test_a_fortran_ordered_head_is_read_back_as_it_was(tmp_path: Path) -> None:
    weight = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(3, 2))
    bias = np.array([1, 2, 3], np.float32)

    write_head(tmp_path / "head.safetensors", (weight, bias))

    read = load_file(tmp_path / "head.safetensors")
    np.testing.assert_array_equal(read["weight"], weight)
    np.testing.assert_array_equal(read["bias"], bias)


def test_fitted_rows_work_on_features_as_they_are() -> None:
    # Three separable clouds, far from the origin and of unequal scales.
    random = np.random.default_rng(0)
    centres = np.array([[100.0, 0.001], [100.0, 0.005], [160.0, 0.001]])
    classes = np.repeat([0, 1, 2], 60)
    noise = random.normal(0, [5, 0.0004], (180, 2))
    features = (centres[classes] + noise).astype(np.float32)
    texts = LabelledTexts(tuple("abcdefghi"[i % 9] * 3 for i in range(180)), classes)

    head = fit_rows(features, texts, seed=0)

    assert judge(features, texts, head)["accuracy"] > 0.97
