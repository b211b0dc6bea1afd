"""Every error of every package, through pickle, as between the processes of a pool."""

from __future__ import annotations

import copy
import importlib
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from megatick_client import BadRequest, DeadlineExceeded
from megatick_contract import ContractError, MegatickError, Rejection
from megatick_contract.errors import TableError

for module in (
    "megatick_client.batches.errors",
    "megatick_client.load.errors",
    "megatick_export.errors",
    "megatick_server.errors",
    "megatick_training.errors",
):
    importlib.import_module(module)


def kinds(of: type[MegatickError] = MegatickError) -> Iterator[type[MegatickError]]:
    yield of
    for kind in of.__subclasses__():
        yield from kinds(kind)


def through_pickle(error: MegatickError) -> MegatickError:
    arrived: MegatickError = pickle.loads(pickle.dumps(error))
    return arrived


def test_there_are_kinds_of_every_package() -> None:
    packages = {kind.__module__.partition(".")[0] for kind in kinds()}

    assert packages >= {
        "megatick_client",
        "megatick_contract",
        "megatick_export",
        "megatick_server",
        "megatick_training",
    }


@pytest.mark.parametrize("kind", [*dict.fromkeys(kinds())])
def test_any_kind_arrives_as_it_was(kind: type[MegatickError]) -> None:
    error = kind.__new__(kind, "expected one, found none")
    error.args = ("expected one, found none",)
    error.__dict__["found"] = 0

    arrived = through_pickle(error)

    assert type(arrived) is kind
    assert (arrived.args, arrived.__dict__) == (error.args, error.__dict__)


@pytest.mark.parametrize(
    "error",
    [
        ContractError("PRICES", expected="FP32", found="FP64"),
        TableError(Path("texts.csv"), "has no column text"),
        DeadlineExceeded("too late", address="127.0.0.1:8001", model="sentiment"),
        BadRequest.listing([Rejection(0, "TEXT", "is blank")], rows=2),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("copied", [through_pickle, copy.copy])
def test_real_ones_keep_their_words_and_attributes(
    error: MegatickError, copied: Callable[[MegatickError], MegatickError]
) -> None:
    again = copied(error)

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__
