from __future__ import annotations

from pathlib import Path

import pytest

from megatick_contract.near_duplicates import near_duplicate_key
from megatick_training.errors import DataError
from megatick_training.labelled_text import read_labelled_texts


def write(folder: Path, text: str) -> Path:
    path = folder / "texts.csv"
    path.write_text(text)
    return path


def test_near_duplicates_never_part(tmp_path: Path) -> None:
    lines = [
        f"$SYM{i % 7}: price target of firm {'x' * (i % 20)} cut to ${i},positive\n"
        for i in range(200)
    ]
    texts = read_labelled_texts(write(tmp_path, "text,label\n" + "".join(lines)))

    train, held_back = texts.split(held_back=0.3, seed=1)

    assert len(train) + len(held_back) == 200
    keys = [
        {near_duplicate_key(text) for text in part.texts} for part in (train, held_back)
    ]
    assert all(keys)
    assert not keys[0] & keys[1]


def test_a_split_is_the_same_for_the_same_seed_only(tmp_path: Path) -> None:
    lines = [
        f"firm {chr(97 + i % 26) * (1 + i // 26)} reports,neutral\n" for i in range(100)
    ]
    texts = read_labelled_texts(write(tmp_path, "text,label\n" + "".join(lines)))

    first, again, other = (
        texts.split(held_back=0.2, seed=seed)[1].texts for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other


def test_rows_of_one_split_can_be_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label,split\nup,positive,dev\ndown,negative,train\n")

    texts = read_labelled_texts(path, split="dev")

    assert texts.texts == ("up",)
    assert texts.classes.tolist() == [2]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        pytest.param("text,sentiment\nx,positive\n", "lacks column 'label'", id="column"),
        pytest.param("text,label\nx,bullish\n", "labels ['bullish']", id="label"),
        pytest.param("text,label\n", "holds no row", id="empty"),
    ],
)
def test_a_table_that_is_not_labelled_text_is_refused(
    tmp_path: Path, table: str, problem: str
) -> None:
    path = write(tmp_path, table)

    with pytest.raises(DataError) as caught:
        read_labelled_texts(path)

    assert str(path) in str(caught.value)
    assert problem in str(caught.value)
