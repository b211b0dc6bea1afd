from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megatick_training.collecting import Article, Store
from megatick_training.errors import DataError

ARTICLE = Article(
    source="https://news.example/feed",
    url="https://news.example/1",
    symbols=("ACME",),
    title="Acme up",
    text="Acme rose 5%.",
    published_at=datetime(2026, 3, 2, 14, 30, tzinfo=UTC),
    collected_at=datetime(2026, 3, 3, tzinfo=UTC),
)


def test_an_article_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "news.parquet"
    store = Store(path)
    assert store.add([ARTICLE, ARTICLE]) == 1
    store.write()

    again = Store(path)
    later = replace(ARTICLE, collected_at=datetime(2026, 3, 4, tzinfo=UTC))
    corrected = replace(
        ARTICLE, text="Acme rose 6%.", published_at=datetime(2026, 3, 1, tzinfo=UTC)
    )
    assert again.add([later, corrected]) == 1
    again.write()

    rows = pq.read_table(path).to_pylist()
    assert [row["text"] for row in rows] == ["Acme rose 6%.", "Acme rose 5%."]
    assert rows[1]["collected_at"] == ARTICLE.collected_at
    assert rows[1]["symbol"] == ["ACME"]
    assert rows[1]["published_at"].isoformat() == "2026-03-02T14:30:00+00:00"
    assert [each.name for each in tmp_path.iterdir()] == ["news.parquet"]


def test_an_article_s_name_is_the_same_everywhere() -> None:
    # sha256 of ["https://news.example/feed", "https://news.example/1", "Acme up",
    # "Acme rose 5%."] as JSON, by coreutils' sha256sum
    assert ARTICLE.id == "889b14898243888f1e77d1938107860c"


def test_validators_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "news.parquet")
    store.validators["https://news.example/feed"] = {"etag": '"v1"'}
    store.write()

    found = Store(tmp_path / "news.parquet")
    assert found.validators == {"https://news.example/feed": {"etag": '"v1"'}}
    assert len(found) == 0


def test_a_file_of_something_else_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "prices.parquet"
    pq.write_table(pa.table({"close": [1.0]}), path)

    with pytest.raises(DataError, match="no collection"):
        Store(path)
    path.write_text("no parquet")
    with pytest.raises(DataError, match="no Parquet file"):
        Store(path)
    with pytest.raises(DataError, match=r"ends in \.parquet"):
        Store(tmp_path / "news.csv")


def test_what_another_process_wrote_stays(tmp_path: Path) -> None:
    path = tmp_path / "news.parquet"
    second = replace(ARTICLE, url="https://news.example/2")
    third = replace(ARTICLE, url="https://news.example/3")
    one, other = Store(path), Store(path)
    one.add([ARTICLE, second])
    one.validators["https://news.example/one"] = {"etag": '"1"'}
    other.add([ARTICLE, third])
    other.validators["https://news.example/other"] = {"etag": '"2"'}

    one.write()
    other.write()
    one.add([replace(ARTICLE, url="https://news.example/4")])
    one.write()

    found = Store(path)
    urls = [row["url"][-1] for row in pq.read_table(path).to_pylist()]
    assert sorted(urls) == ["1", "2", "3", "4"]
    assert len(found.validators) == 2


def test_a_collection_wants_a_folder_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none is not there: make it first"):
        Store(tmp_path / "none" / "news.parquet")
