"""What was published: the row of a collection, and its schema in Parquet."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pyarrow as pa

ARTICLES: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("symbol", pa.list_(pa.string())),
        pa.field("title", pa.string()),
        pa.field("text", pa.string(), nullable=False),
        pa.field("published_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("collected_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("language", pa.string()),
    ]
)


@dataclass(frozen=True)
class Article:
    """One text, as it was published.

    Attributes:
        source: the feed's address, or ``edgar``.
        url: of the text.
        symbols: that it is about, as far as it was asked for them.
        title: may be empty.
        text: raw, with its markup; not empty.
        published_at: as the source says, in UTC.
        collected_at: when it was read here, in UTC.
        language: as the source says, or None.
    """

    source: str
    url: str
    symbols: tuple[str, ...]
    title: str
    text: str
    published_at: datetime
    collected_at: datetime
    language: str | None = None

    @property
    def id(self) -> str:
        """128 bits of SHA-256 of source, address, title and text, in hex.

        A text that its source corrects is another article; one collected again is not.
        """
        content = json.dumps([self.source, self.url, self.title, self.text])
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    def row(self) -> dict[str, Any]:
        """As ``ARTICLES`` has it."""
        return {
            "id": self.id,
            "source": self.source,
            "url": self.url,
            "symbol": list(self.symbols),
            "title": self.title,
            "text": self.text,
            "published_at": self.published_at,
            "collected_at": self.collected_at,
            "language": self.language,
        }
