from __future__ import annotations

import pandas as pd
import pytest

from megatick_cli.frames import print_frame


def test_a_narrow_terminal_cuts_no_figure_short(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    frame = pd.DataFrame(
        {
            "symbol": ["LONGSYMBOL"],
            "closed": ["2023-07-14"],
            "it says": ["a text of many words that goes on"],
            "of gross, %": [33.3],
        }
    )

    print_frame("Holdings", frame)

    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 40
    for whole in ("LONGSYMBOL", "2023-07-14", "33.3", "gross,"):
        assert whole in printed


def test_on_a_very_narrow_one_nothing_is_lost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "12")

    print_frame("", pd.DataFrame({"a": ["2023-07-14"], "b": ["2023-07-15"]}))

    printed = capsys.readouterr().out
    assert "2023-07-14" in printed
    assert "2023-07-15" in printed
