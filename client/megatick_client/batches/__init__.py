"""Batches: score millions of rows from files or frames, and survive any crash on the way.

    from megatick_client import Client

    with Client("127.0.0.1:8001") as client:
        client.batches.submit("news.csv.gz", output="scores.parquet", column="headline")
        # after a crash: client.batches.resume("scores.parquet")

Needs ``pip install 'megatick[batch]'``.
"""

from megatick_client.batches.batches import Batches
from megatick_client.batches.errors import (
    AnotherModel,
    BatchError,
    BatchStopped,
    JobError,
    ScoringError,
    ScoringFailed,
    ServersSilent,
    SettingError,
    SourceError,
)
from megatick_client.batches.running import BatchProgress
from megatick_client.batches.status import BatchStatus

__all__ = [
    "AnotherModel",
    "BatchError",
    "BatchProgress",
    "BatchStatus",
    "BatchStopped",
    "Batches",
    "JobError",
    "ScoringError",
    "ScoringFailed",
    "ServersSilent",
    "SettingError",
    "SourceError",
]
