"""``megatick evaluate-sentiment``: does a served model beat a lexicon?"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from megatick_cli.connection import Connection, client_of, with_connection
from megatick_cli.frames import print_frame
from megatick_cli.out_file import require_folder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from megatick_client import Client
    from megatick_training.evaluation.sentiment import SentimentJudgement
    from megatick_training.labelled_text import LabelledTexts

_TEXTS_A_CALL: Final = 256
_TIMEOUT_S: Final = 120.0


@with_connection
def evaluate_sentiment(
    labelled: Annotated[
        Path,
        typer.Argument(help="Texts to judge on: columns text and label, perhaps split."),
    ],
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Ask a server that runs.")
    ] = None,
    repository: Annotated[
        Path | None,
        typer.Option(
            help="Or serve what `megatick export` wrote, for as long as it takes."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Judge only rows whose column split says this.")
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(help="Texts to fit TF-IDF with a logistic regression on, likewise."),
    ] = None,
    train_split: Annotated[
        str | None, typer.Option(help="Fit it only on rows of this split.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Report to write (HTML).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    connection: Connection,
) -> None:
    """Judge a served model on labelled texts, beside lexicons and a linear model.

    Figures come with 95 % bootstrap intervals.  Without --address and --repository only the
    baselines are judged.

    Exit status: 0 judged, well or badly; 1 failed (one message on stderr says why); 2 bad
    usage.
    """
    from megatick_training.evaluation.sentiment import judge
    from megatick_training.evaluation.sentiment_baselines import (
        loughran_mcdonald,
        tfidf_logistic_regression,
        vader,
    )
    from megatick_training.labelled_text import read_labelled_texts

    if address is not None and repository is not None:
        raise typer.BadParameter("give --address or --repository, not both")
    if connection and address is None:
        raise typer.BadParameter(
            "give --address as well: a server that is started here is not protected"
        )
    if train_split is not None and train is None:
        raise typer.BadParameter("--train-split goes with --train")
    if out is not None:
        require_folder(out)
    texts = read_labelled_texts(labelled, split=split)
    fitted = None if train is None else read_labelled_texts(train, split=train_split)
    judged: dict[str, SentimentJudgement] = {}
    with Console(stderr=True).status("asking the model …") as status:
        if address is not None or repository is not None:
            with client_of(address, repository, connection, timeout_s=_TIMEOUT_S) as client:
                judged["the served model"] = judge(
                    texts.classes, _probabilities(client, texts.texts)
                )
        status.update("counting words …")
        judged["Loughran-McDonald"] = judge(texts.classes, loughran_mcdonald(texts.texts))
        judged["VADER"] = judge(texts.classes, vader(texts.texts))
        flattered = ""
        if fitted is not None:
            status.update("fitting TF-IDF …")
            flattered = _flattered(fitted, texts)
            told = tfidf_logistic_regression(fitted.texts, fitted.classes, texts.texts)
            judged["TF-IDF, logistic regression"] = judge(texts.classes, told)
    if flattered:
        Console(stderr=True).print(f"[yellow]warning:[/] {flattered}", highlight=False)
    if out is not None:
        files = {"judged on": labelled} | ({"trained on": train} if train else {})
        _write(out, judged, files, flattered)
    if as_json:
        typer.echo(
            json.dumps({name: asdict(each) for name, each in judged.items()}, indent=2)
        )
        return
    print_frame(f"{len(texts):,} texts of {labelled.name}", _table(judged))


def _flattered(fitted: LabelledTexts, texts: LabelledTexts) -> str:
    """Say how many of the texts are no test of a model that was fitted on those others."""
    from megatick_training.near_duplicates import LEAKING_RESEMBLANCE
    from megatick_training.texts import repeating

    (repeats,) = repeating(fitted, texts)
    if not repeats:
        return ""
    return (
        f"{repeats:,} of the {len(texts):,} judged texts resemble one that TF-IDF was "
        f"fitted on by {LEAKING_RESEMBLANCE} or more, which flatters its figures."
    )


def _probabilities(client: Client, texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """In class order, (texts, classes)."""
    import numpy as np

    starts = range(0, len(texts), _TEXTS_A_CALL)
    scored = [client.score(list(texts[at : at + _TEXTS_A_CALL])) for at in starts]
    return np.concatenate([each.probabilities for each in scored])


def _table(judged: dict[str, SentimentJudgement]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "model": name,
                "accuracy": str(each.accuracy),
                "macro-F1": str(each.macro_f1),
                "ECE": str(each.calibration_error or "–"),
            }
            for name, each in judged.items()
        ]
    )


def _write(
    out: Path,
    judged: dict[str, SentimentJudgement],
    data: dict[str, Path],
    flattered: str,
) -> None:
    import pandas as pd

    from megatick_contract import LABELS
    from megatick_training.reports import Section, write_report

    confusions = [
        Section(
            f"Confusion of {name}",
            text="Texts by true class (rows) and predicted class.",
            table=pd.DataFrame(
                [
                    {"true": label} | dict(zip(LABELS, row, strict=True))
                    for label, row in zip(LABELS, each.confusion, strict=True)
                ]
            ),
        )
        for name, each in judged.items()
    ]
    write_report(
        out,
        title="Sentiment, beside its baselines",
        command=("megatick", *sys.argv[1:]),
        data=data,
        sections=[
            Section(
                "Judged",
                text="In brackets 95 % bootstrap intervals over the texts.  ECE is the "
                "expected calibration error; a lexicon names no probability.  "
                f"{flattered}".rstrip(),
                table=_table(judged),
            ),
            *confusions,
        ],
    )
