"""A row's score in a batch is its score online, whatever it is batched with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from batch_world import errors_of, rows_of
from served import Served
from tiny import WINDOW

from megatick_client import Client

pytestmark = pytest.mark.triton

TOLERANCE = 2e-5
"""Of a probability: float32, and a batch sums in another order than a row alone."""


def texts_of_mixed_lengths(count: int) -> list[str]:
    random = np.random.default_rng(11)
    letters = list("abcdefghijklmnopqrstuvwxyz ")
    return [
        "".join(random.choice(letters, random.integers(1, WINDOW))).strip() or "x"
        for _ in range(count)
    ]


@pytest.mark.parametrize("dedupe", [False, True], ids=["each-row", "each-text-once"])
def test_batch_scores_are_online_scores(
    served: Served, client: Client, tmp_path: Path, dedupe: bool
) -> None:
    texts = texts_of_mixed_lengths(300)
    written = [*texts, " ", "x" * 70_000, *texts[:50]]  # blank, and over 64 KiB
    source = tmp_path / "news.csv"
    source.write_text("text\n" + "".join(f'"{text}"\n' for text in written))
    output = tmp_path / "scores.parquet"

    status = client.batches.submit(source, output=output, dedupe=dedupe)

    online = {text: client.score(text) for text in texts}
    rows = rows_of(output)
    assert [row["text"] for row in rows] == texts + texts[:50]
    found = np.array(
        [[row[k] for k in ("negative", "neutral", "positive")] for row in rows]
    )
    expected = np.array(
        [
            [p.negative, p.neutral, p.positive]
            for p in (online[row["text"]].probabilities for row in rows)
        ]
    )
    assert np.ptp(expected[:, 0]) > 0.2, "texts that all score alike would prove nothing"
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    for row in rows:
        result = online[row["text"]]
        assert row["label"] == result.label
        assert row["score"] == pytest.approx(result.score, abs=2 * TOLERANCE)
        assert (row["tokens"], row["truncated"]) == (result.tokens, result.truncated)
    assert [error["row"] for error in errors_of(output)] == [300, 301]
    timed = client.score("a", timings=True)
    assert status.model_digest == timed.reply.model_digest != ""
