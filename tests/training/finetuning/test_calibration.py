"""The temperature of a classifier's logits."""

from __future__ import annotations

import numpy as np
import pytest

from megatick_training.finetuning.calibration import fit_temperature


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_a_known_overconfidence_is_found(factor: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, (20_000, 3))
    # A class drawn from softmax(logits) is the largest of logits and Gumbel noise.
    classes = (logits + random.gumbel(size=logits.shape)).argmax(1)

    found = fit_temperature((logits * factor).astype(np.float32), classes)

    assert found == pytest.approx(factor, rel=0.05)
