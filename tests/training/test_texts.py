from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from megatick_contract.near_duplicates import resemblance, sketch
from megatick_training.errors import DataError, SplitError
from megatick_training.near_duplicates import LEAKING_RESEMBLANCE
from megatick_training.texts import SplitBy, Texts, hold_back, read_texts, repeating
from megatick_training.times import utc_times


def firm(number: int) -> str:
    """A name of a firm, unlike those of other numbers."""
    return "".join(chr(97 + (number * step + 7 * step) % 26) for step in range(3, 40, 3))


def texts(count: int = 20) -> Texts:
    """One a day, of ten symbols in turn; the last says what the first said."""
    said = [f"{firm(n)} and {firm(40 + n)} report" for n in range(count - 1)]
    days = [f"2026-01-{1 + n:02}T12:00Z" for n in range(count)]
    return Texts(
        (*said, f"{said[0]}!"),
        published_at=utc_times(days, what="published_at"),
        symbols=tuple((f"S{n % 10}",) for n in range(count)),
    )


def test_three_parts_by_time_one_after_another() -> None:
    whole = texts()

    held = hold_back(whole, "time", dev=0.2, test=0.25, embargo=timedelta(hours=36))

    # test: 5 of 20, from the 16th on, less the last, which repeats the first; the 15th is
    # in its embargo.  dev: 3 of the 14 that are left, from the 12th on; likewise the 11th.
    assert held.test.texts == whole.texts[15:19]
    assert held.dev.texts == whole.texts[11:14]
    assert held.train.texts == whole.texts[:10]
    assert held.left_out == 3
    assert "split by time.  3 texts are in no part" in str(held)


@pytest.mark.parametrize(("seed", "left_out"), [(0, 0), (1, 1)])
def test_three_parts_by_symbol(seed: int, left_out: int) -> None:
    held = hold_back(texts(), "symbol", dev=0.25, test=0.2, seed=seed)

    parts = [held.train, held.dev, held.test]
    of_part = [{name for (name,) in part.symbols or ()} for part in parts]
    assert [len(names) for names in of_part] == [6, 2, 2]
    assert len(set.union(*of_part)) == 10
    # S0 and S9 told the same: where they part, one of the two texts is in no part.
    assert any({"S0", "S9"} <= names for names in of_part) == (not left_out)
    assert held.left_out == left_out


def test_by_group_nothing_is_left_out() -> None:
    held = hold_back(texts(), dev=0.2, test=0.2, seed=0)

    assert len(held.train) + len(held.dev) + len(held.test) == 20
    assert repeating(held.train, held.dev, held.test) == (0, 0)


def test_without_shares_all_of_it_is_to_train_on() -> None:
    held = hold_back(texts())

    parts = held.train, held.dev, held.test
    assert [len(part) for part in parts] == [20, 0, 0]
    assert held.left_out == 0
    assert str(held) == "Nothing is held back."


@pytest.mark.parametrize(("by", "column"), [("time", "published_at"), ("symbol", "symbol")])
def test_what_a_split_needs_is_named(by: SplitBy, column: str) -> None:
    with pytest.raises(SplitError, match=f"a column '{column}' .* split them by {by}"):
        hold_back(Texts(("up", "down")), by, test=0.5)


def test_texts_that_repeat_others_are_counted() -> None:
    ours, theirs = texts(), texts().take(np.array([0, 3]))

    assert repeating(theirs, ours) == (3,)  # both themselves, and the last
    assert repeating(theirs, ours.take(np.array([5, 6])), theirs) == (0, 2)


def test_only_what_resembles_itself_is_counted() -> None:
    one = "the lender raises its outlook for the year after a strong third quarter"
    between = one.replace("strong third", "weak first")
    other = between.replace("lender raises", "software firm raises")
    alike = [
        resemblance(sketch(first), sketch(second)) >= LEAKING_RESEMBLANCE
        for first, second in ((one, between), (between, other), (one, other))
    ]
    assert alike == [True, True, False]

    # Nor is it by way of a text of its own set, which the report would not say.
    assert repeating(Texts((one,)), Texts((between, other))) == (1,)
    assert repeating(Texts(("12.5%",)), Texts(("12.5%", "3%"))) == (1,)


def test_plain_texts_are_read_with_what_is_known_of_them(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text(
        "Text,published_at,ticker,split\n"
        " up ,2026-01-05T00:00Z,A,train\n"
        ",2026-01-06T00:00Z,B,train\n"
        "down,2026-01-07T00:00Z,,train\n"
        "flat,2026-01-08T00:00Z,C,dev\n"
    )

    read = read_texts(path, split="train")

    assert read.texts == ("up", "down")
    assert read.symbols == (("A",), ())
    assert read.published_at is not None
    assert [each.day for each in read.published_at] == [5, 7]


def test_a_table_without_a_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("text,symbol\n ,A\n,B\n")

    with pytest.raises(DataError, match="holds no text"):
        read_texts(path)


@pytest.mark.parametrize(("name", "found"), [("", "a folder"), ("absent.csv", "none")])
def test_what_is_read_is_one_file(tmp_path: Path, name: str, found: str) -> None:
    with pytest.raises(DataError, match=f"expected a file, found {found}"):
        read_texts(tmp_path / name)
