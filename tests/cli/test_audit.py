"""``megatick audit`` on chains written here, and a server whose answers are arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from endpoint import Endpoint, serve
from typer.testing import CliRunner

from megatick_cli import app as command
from megatick_server.audit import AuditKey
from megatick_server.audit.chain import Chain

KEY = AuditKey(b"0123456789abcdef" * 2)
DIGEST = "d1" * 32  # the endpoint's


class Timed(Endpoint):
    """Tells its stages as well: four, of no time."""

    def answers(self, texts: list[str]) -> dict[str, Any]:
        return {**super().answers(texts), "STAGE_US": np.zeros((len(texts), 4), np.float32)}


def run(*arguments: str | Path) -> tuple[int, str]:
    """Run ``megatick``; its status, and all that it printed in one line."""
    result = CliRunner().invoke(command.app, [*map(str, arguments)], env={"COLUMNS": "120"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def reply(text: str, request_id: str = "a", **changes: Any) -> dict[str, Any]:
    """What is recorded where a text of one plus was asked for: (1, 1, 2) / 4."""
    whole = {
        "kind": "reply",
        "model_digest": DIGEST,
        "request_id": request_id,
        "inputs": {"TEXT": [KEY.of_input("TEXT", np.array([text.encode()], object))]},
        "truncation": "head",
        "outputs": {"PROBABILITIES": [[0.25, 0.25, 0.5]]},
    }
    return {k: v for k, v in {**whole, **changes}.items() if v is not None}


def write(folder: Path, *records: dict[str, Any], model: str = "scorer") -> None:
    chain = Chain(folder, KEY, model=model, about={"model_digest": DIGEST})
    chain.append(records)
    chain.close()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "audit.key"
    file.write_bytes(KEY.value + b"\n")
    return file


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    file = tmp_path / "texts.csv"
    file.write_text("text\nup +\nup again +\n")
    return file


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serve(Timed(tolerance=2**-10), threads=4) as endpoint:
        yield endpoint.address


@pytest.fixture
def replay(key_file: Path, texts: Path, address: str, tmp_path: Path) -> tuple[str, ...]:
    options = {"--inputs": texts, "--key-file": key_file, "--address": address}
    pairs = [str(word) for pair in options.items() for word in pair]
    return ("audit", "replay", str(tmp_path / "log"), *pairs)


def test_verify_names_the_line(tmp_path: Path) -> None:
    write(
        tmp_path / "log", reply("up +"), reply("up again +"), {"kind": "lost", "count": 3}
    )
    assert run("audit", "verify", tmp_path / "log")[0] == 0
    (file,) = (tmp_path / "log").iterdir()
    file.write_bytes(file.read_bytes().replace(b"0.5]]", b"0.6]]", 1))

    status, said = run("audit", "verify", tmp_path / "log")

    assert status == 1
    assert f"{file.name}, line 2: was edited" in said
    assert "3 replies were given without a record" in said


def test_a_head_that_is_gone(tmp_path: Path, key_file: Path) -> None:
    write(tmp_path / "log", reply("up +"))
    status, said = run("audit", "head", tmp_path / "log")
    head, chain, records, _ = said.split()
    assert (status, records) == (0, "3")
    assert chain.startswith("scorer-")
    verify = ("audit", "verify", tmp_path / "log", "--key-file", key_file, "--head")
    assert run(*verify, head)[0] == 0
    (file,) = (tmp_path / "log").iterdir()
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))

    status, said = run(*verify, head)

    assert status == 1
    assert f"head {head}: no record has it" in said


def test_replay_repeats_what_was_answered(tmp_path: Path, replay: tuple[str, ...]) -> None:
    unknown = reply("of another file", "b")
    write(tmp_path / "log", reply("up +"), unknown, reply("up +", "c", outputs=None))

    status, said = run(*replay)

    assert status == 0, said
    assert "1 scores compared, 0 differ" in said
    assert "1 have no text" in said


def test_replay_lists_what_differs(tmp_path: Path, replay: tuple[str, ...]) -> None:
    """0.52 where the server says 0.5; and by a model that is another."""
    other = {"outputs": {"SCORE": [[0.27]]}, "model_digest": "e2" * 32}
    write(tmp_path / "log", reply("up +"), reply("up again +", "x-7", **other))

    status, said = run(*replay, "--tolerance", "0.019")

    assert status == 1
    assert "request x-7 of " in said
    assert "SCORE differs by 0.02: recorded 0.27, now 0.25" in said
    assert f"another model, {'e2' * 32}" in said
    assert run(*replay, "--tolerance", "0.021")[0] == 0


def test_replay_allows_what_the_server_states(tmp_path: Path, key_file: Path) -> None:
    """0.52 was answered then; the server says 0.5, and that it may move by 1/16."""
    texts = tmp_path / "texts.txt"
    texts.write_text("up +\n")
    moved = {"PROBABILITIES": [[0.24, 0.24, 0.52]]}
    write(tmp_path / "log", reply("up +", outputs=moved))
    replay = ("audit", "replay", tmp_path / "log", "--inputs", texts)

    with serve(Timed(tolerance=0.0625)) as endpoint:
        asked = (*replay, "--key-file", key_file, "--address", endpoint.address)
        status, said = run(*asked)
        strict, told = run(*asked, "--tolerance", "0.019")

    assert status == 0, said
    assert "1 scores compared, 0 differ by more than 0.0625 (stated by the server)" in said
    assert strict == 1
    assert "1 differ by more than 0.019 (given), largest difference 0.02;" in told


def test_two_steps_are_joined_by_the_request(
    tmp_path: Path, replay: tuple[str, ...]
) -> None:
    """Before a TensorRT engine stands who sees the text, behind it who scores."""
    write(tmp_path / "log", reply("up +", outputs={"TOKENS": [[2]]}), model="preprocess")
    write(tmp_path / "log", reply("", inputs={}), model="sentiment_scores")

    status, said = run(*replay)

    assert status == 0, said
    assert "1 scores compared, 0 differ" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "r", "--audit", "log"], "--audit and --audit-key-file together"),
        (
            ["serve", "r", "--audit", "{tmp}/log", "--audit-key-file", "{tmp}/no"],
            "cannot be read",
        ),
        (
            ["audit", "replay", "log", "--inputs", "x", "--key-file", "y"],
            "--address or --repository",
        ),
    ],
)
def test_bad_usage_is_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    status, said = run(*(each.format(tmp=tmp_path) for each in arguments))

    assert status == 2
    assert message in said
