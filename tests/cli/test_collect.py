"""``megatick collect`` against servers of this process; their answers are invented."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from megatick_cli.app import app
from megatick_contract import MegatickError

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
