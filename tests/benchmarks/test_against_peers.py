"""The benchmark against peers, with a stand-in for the peer."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import against_peers
import psutil
import pytest
import typer
from exported import Exported
from peers import contenders
from peers.client import PLAIN
from peers.contenders import Peer
from peers.prepare import Proof
from until import until

from megatick_contract import LABELS

# Answers "positive" to everything; starts a child, and stops for nothing but force.
STAND_IN = """
import http.server, json, os, pathlib, signal, subprocess, sys

signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"])
pathlib.Path(sys.argv[1], "pids").write_text(f"{os.getpid()} {child.pid}")

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        reply = json.dumps({"probabilities": [0, 0, 1]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *given):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """A peer whose environment is there already: this one."""
    folder, python = tmp_path / "stand_in", tmp_path / "env" / "stand_in" / "bin" / "python"
    for each in (folder, python.parent, tmp_path / "model"):
        each.mkdir(parents=True)
    (folder / "server.py").write_text(STAND_IN)
    for each in (folder, python.parents[1]):
        (each / "requirements.txt").write_text("nothing==1\n")
    python.symlink_to(sys.executable)
    monkeypatch.setattr(contenders, "HERE", tmp_path)
    monkeypatch.setattr(contenders, "_STOP_S", 0.2)
    return Peer("stand_in", PLAIN, tmp_path / "model", tmp_path)


def test_nothing_of_a_peer_is_left(stand_in: Peer) -> None:
    told = stand_in.model / "pids"
    with stand_in.running() as server:
        while not (told.is_file() and told.read_text()):
            assert server.alive()
            time.sleep(0.05)
        pids = [int(each) for each in told.read_text().split()]
        assert all(map(psutil.pid_exists, pids))

    until(lambda: not any(map(_lives, pids)))  # init reaps the child


def _lives(pid: int) -> bool:
    try:
        status: str = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return False
    return status != psutil.STATUS_ZOMBIE


@pytest.mark.triton
def test_megatick_and_a_peer_are_measured_alike(
    exported: Exported, stand_in: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 12
    labels = tuple(number % len(LABELS) for number in range(count))
    monkeypatch.setattr(against_peers, "prove", lambda *_: Proof(labels, 0.0, 0.0))
    monkeypatch.setattr(against_peers, "peers", lambda *_: [stand_in])

    against_peers.main(
        exported.out,
        count=count,
        concurrencies="1,2",
        rounds=1,
        warm=0.2,
        window=3,  # a machine may stand still for two of them
        offered=1.0,
        builds=tmp_path,
        out=tmp_path,
    )

    figures = json.loads((tmp_path / "peers.json").read_text())
    ours, theirs = (figures["contenders"][name] for name in ("megatick", "stand_in"))
    for each in (ours, theirs):
        assert each["failures"] == {}
        assert 0 < each["p50_ms"] <= each["p99_ms"]
        assert set(each["per_s_by_concurrency"]) == {"1", "2"}
    # One label of three is "positive": of five calls one, of six two.
    assert theirs["label_agreement"] == pytest.approx(1 / 3, abs=0.15)
    assert figures["throughput_over"] == {
        "stand_in": pytest.approx(ours["per_s"] / theirs["per_s"])
    }
    assert figures["requirements"] == {"stand_in": ["nothing==1"]}
    slowest = min(max(each["per_s_by_concurrency"].values()) for each in (ours, theirs))
    assert figures["offered_per_s"] == pytest.approx(0.5 * slowest)


def test_an_unknown_peer_is_named(stand_in: Peer) -> None:
    with pytest.raises(
        typer.BadParameter, match="expected peers among stand_in, found nobody"
    ):
        against_peers.chosen_peers([stand_in], "nobody")
