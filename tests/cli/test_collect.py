"""``megatick collect`` against servers of this process; their answers are invented."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from megatick_cli.app import app
from megatick_contract import MegatickError
from megatick_training.collecting import Fetcher, Store

FEED = b"""<rss version="2.0"><channel><title>w</title><item><title>Acme up</title>
<pubDate>Mon, 02 Mar 2026 09:30:00 GMT</pubDate></item></channel></rss>"""


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path == "/feed"
        self.send_response(200 if found else 404)
        self.end_headers()
        if found:
            self.wfile.write(FEED)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as serving:
        thread = threading.Thread(
            target=serving.serve_forever, kwargs={"poll_interval": 0.05}
        )
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def test_one_bad_feed_does_not_lose_the_others(server: str, tmp_path: Path) -> None:
    out = tmp_path / "news.parquet"
    command = ["collect", "rss", f"{server}/none", f"{server}/feed", "--out", str(out)]

    first, second = (
        CliRunner().invoke(app, [*command, "--symbol", "ACME"]) for _ in range(2)
    )

    assert (first.exit_code, second.exit_code) == (1, 1)
    assert f"{server}/none: expected 200" in first.stderr
    assert f"{server}/feed: 1 articles, 1 new" in first.stdout
    assert f"{server}/feed: 1 articles, 0 new" in second.stdout
    assert pq.read_table(out).to_pylist()[0]["symbol"] == ["ACME"]


def test_a_first_run_that_reads_nothing_leaves_no_file(server: str, tmp_path: Path) -> None:
    out = tmp_path / "news.parquet"

    told = CliRunner().invoke(app, ["collect", "rss", f"{server}/none", "--out", str(out)])

    assert told.exit_code == 1
    assert "not written, as nothing was read" in " ".join(told.stdout.split())
    assert not out.exists()


def test_all_well(server: str, tmp_path: Path) -> None:
    out = tmp_path / "news.parquet"

    told = CliRunner().invoke(app, ["collect", "rss", f"{server}/feed", "--out", str(out)])

    assert told.exit_code == 0


def test_edgar_wants_a_contact(tmp_path: Path) -> None:
    command = ["collect", "edgar", "--since", "2026-01-01", "--out"]
    command += [str(tmp_path / "filings.parquet"), "--symbols", "ACME"]

    assert CliRunner().invoke(app, command).exit_code == 2
    told = CliRunner().invoke(app, [*command, "--contact", "me"])
    assert isinstance(told.exception, MegatickError)
    assert "e-mail" in str(told.exception)


def test_edgar_wants_a_company(tmp_path: Path) -> None:
    command = ["collect", "edgar", "--since", "2026-01-01", "--contact", "a b@c.example"]

    told = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "f.parquet")])

    assert told.exit_code == 2


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the network answers, by address; another address ends the program."""
    known: dict[str, bytes] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        if str(request.url) not in known:
            raise KeyboardInterrupt
        return httpx.Response(200, content=known[str(request.url)])

    opened = partial(
        Fetcher, transport=httpx.MockTransport(answer), sleep=lambda seconds: None
    )
    monkeypatch.setattr("megatick_training.collecting.Fetcher", opened)
    return known


def filed_by(cik: int) -> dict[str, bytes]:
    """A company with one filing."""
    number = f"{cik:010}-26-000001"
    columns = {
        "accessionNumber": [number],
        "form": ["8-K"],
        "filingDate": ["2026-03-02"],
        "primaryDocument": ["a.htm"],
    }
    company = {"name": f"C{cik}", "tickers": [], "filings": {"recent": columns}}
    folder = f"https://www.sec.gov/Archives/edgar/data/{cik}/{number.replace('-', '')}/"
    return {
        f"https://data.sec.gov/submissions/CIK{cik:010}.json": json.dumps(company).encode(),
        f"{folder}{number}-index-headers.html": b"<ACCEPTANCE-DATETIME>20260302162159",
        f"{folder}a.htm": b"A chief is named.",
    }


def test_a_collection_that_is_broken_off_keeps_what_was_read(
    answers: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "filings.parquet"
    command = ["collect", "edgar", "--since", "2026-01-01", "--contact", "a b@c.example"]
    command += ["--ciks", "1,2", "--out", str(out)]
    answers |= filed_by(1)

    broken_off = CliRunner().invoke(app, command)

    assert broken_off.exit_code != 0
    assert pq.read_table(out)["title"].to_pylist() == ["C1: 8-K"]

    answers |= filed_by(2)
    for url in list(answers):  # the first company's filing is not asked for again
        if "/data/1/" in url:
            del answers[url]
    told = CliRunner().invoke(app, command)

    assert told.exit_code == 0, told.output
    assert "CIK0000000001: 0 articles, 0 new, 1 more were there" in told.stdout
    assert sorted(pq.read_table(out)["title"].to_pylist()) == ["C1: 8-K", "C2: 8-K"]


def test_what_was_read_is_kept_from_time_to_time(
    answers: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("megatick_cli.collect._SAVE_EVERY_S", 0.0)
    lengths: list[int] = []
    monkeypatch.setattr(Store, "write", lambda store: lengths.append(len(store)))
    command = ["collect", "edgar", "--since", "2026-01-01", "--contact", "a b@c.example"]
    answers |= filed_by(1) | filed_by(2)

    told = CliRunner().invoke(
        app, [*command, "--ciks", "1,2", "--out", str(tmp_path / "f.parquet")]
    )

    assert told.exit_code == 0, told.output
    assert lengths == [1, 2]


def test_an_unknown_symbol_begins_no_collection(
    answers: dict[str, bytes], tmp_path: Path
) -> None:
    answers["https://www.sec.gov/files/company_tickers.json"] = b"{}"
    out = tmp_path / "filings.parquet"
    command = ["collect", "edgar", "--since", "2026-01-01", "--contact", "a b@c.example"]

    told = CliRunner().invoke(app, [*command, "--symbols", "WILE", "--out", str(out)])

    assert "'WILE'" in str(told.exception)
    assert not out.exists()
