"""Another state of a repository, loaded by the real Triton while it answers."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from until import until

from megatick_server.errors import (
    InstallationError,
    LaunchError,
    ModelLoadError,
    ReadyTimeoutError,
    RepositoryError,
)
from megatick_server.launcher import (
    Api,
    ServeOptions,
    TritonServer,
    check_repository,
    shown,
)
from megatick_server.launcher.private import show_models
from megatick_server.launcher.shown import Shown
from megatick_server.launcher.snapshot import Snapshot

pytestmark = pytest.mark.triton

# A load that failed keeps Triton 2.51 from ending on its own.
ON_FREE_PORTS = ServeOptions(grpc_port=0, metrics_port=None, stop_timeout_s=2)

WriteModel = Callable[..., Path]

ADDS = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("OUT", request.inputs()[0].as_numpy() + {added})]
            )
            for request in requests
        ]
"""
FAILS = """
class TritonPythonModel:
    def initialize(self, args):
        raise ValueError("not this one")
"""

SLOW = """
import time

class TritonPythonModel:
    def initialize(self, args):
        time.sleep(6)
"""


def code_of(repository: Path, model: str = "identity") -> Path:
    return repository / model / "1" / "model.py"


def put(repository: Path, code: str, model: str = "identity") -> None:
    """Replace the code of a model by another file, as an export does."""
    path = code_of(repository, model)
    path.with_suffix(".new").write_text(code)
    path.with_suffix(".new").replace(path)


def files_open() -> int:
    gc.collect()  # what other tests left
    return len(os.listdir("/proc/self/fd"))


def ask(client: triton.InferenceServerClient, model: str = "identity") -> float:
    """What the model makes of 0."""
    request = triton.InferInput("IN", [1, 1], "FP32")
    request.set_data_from_numpy(np.zeros((1, 1), np.float32))
    return float(client.infer(model, [request], client_timeout=30).as_numpy("OUT")[0, 0])


@pytest.fixture
def repository(write_model: WriteModel) -> Path:
    """One model, which adds 1."""
    return write_model(code=ADDS.format(added=1))


@pytest.fixture
def server(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, ON_FREE_PORTS) as server:
        yield server


@pytest.fixture
def client(server: TritonServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.endpoints.grpc) as client:
        yield client


def test_no_call_fails_while_another_model_is_loaded(
    server: TritonServer, repository: Path
) -> None:
    answers: list[float | Exception] = []
    done = threading.Event()

    def call() -> None:
        with triton.InferenceServerClient(server.endpoints.grpc) as client:
            while not done.is_set():
                try:
                    answers.append(ask(client))
                except Exception as error:  # noqa: BLE001 it is looked at below
                    answers.append(error)

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    until(lambda: len(answers) >= 2)
    put(repository, ADDS.format(added=2))
    server.reload()
    asked = len(answers)
    until(lambda: len(answers) >= asked + 10)
    done.set()
    for caller in callers:
        caller.join()

    assert set(answers) == {1.0, 2.0}
    assert set(answers[asked + 2 :]) == {2.0}  # but for what was in flight


def test_files_that_are_older_are_loaded_all_the_same(
    server: TritonServer, client: triton.InferenceServerClient, repository: Path
) -> None:
    put(repository, ADDS.format(added=2))
    for path in [*repository.rglob("*"), repository]:
        os.utime(path, (0, 0))

    server.reload()

    assert ask(client) == 2.0


def test_another_folder_is_loaded_and_its_name_is_told(
    server: TritonServer,
    client: triton.InferenceServerClient,
    repository: Path,
    tmp_path: Path,
) -> None:
    other = shutil.copytree(repository, tmp_path / "other")
    put(other, ADDS.format(added=2))
    (other / "receipt.json").write_text('{"model_digest": "abc"}')

    server.reload(other)

    assert ask(client) == 2.0
    assert server.repository == check_repository(other)
    assert server.repository.model_digest == "abc"


def test_what_does_not_load_is_named_and_leaves_what_was_served(
    server: TritonServer, client: triton.InferenceServerClient, repository: Path
) -> None:
    put(repository, FAILS)

    with pytest.raises(ModelLoadError, match="not this one") as caught:
        server.reload()
    assert [failure.model for failure in caught.value.failures] == ["identity"]
    assert str(code_of(repository)) in str(caught.value)
    assert ask(client) == 1.0
    assert client.is_server_ready()

    put(repository, ADDS.format(added=3))
    server.reload()
    assert ask(client) == 3.0


def test_what_did_load_is_taken_back_where_another_did_not(
    repository: Path, write_model: WriteModel
) -> None:
    write_model("second", ADDS.format(added=5))
    with (
        TritonServer(repository, ON_FREE_PORTS) as server,
        triton.InferenceServerClient(server.endpoints.grpc) as client,
    ):
        put(repository, FAILS)
        put(repository, ADDS.format(added=6), "second")
        with pytest.raises(ModelLoadError, match="not this one"):
            server.reload()

        assert (ask(client), ask(client, "second")) == (1.0, 5.0)


def test_a_model_that_never_loaded_is_not_waited_for(
    server: TritonServer, client: triton.InferenceServerClient, write_model: WriteModel
) -> None:
    """Triton unloads nothing of it when what was served before is shown again."""
    write_model("second", FAILS)
    started = time.monotonic()

    with pytest.raises(ModelLoadError, match="second: ValueError: not this one"):
        server.reload()

    assert time.monotonic() - started < ON_FREE_PORTS.ready_timeout_s
    assert ask(client) == 1.0


def test_a_load_that_took_too_long_does_not_count_for_the_next(
    server: TritonServer,
    client: triton.InferenceServerClient,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Triton loads it to its end all the same, and its log names no folder."""
    monkeypatch.setattr(shown, "_UNDO_S", 0.2)
    put(repository, SLOW)
    server.options = replace(ON_FREE_PORTS, ready_timeout_s=2)
    started = time.monotonic()
    with pytest.raises(ReadyTimeoutError, match="within 2 s"):
        server.reload()
    assert time.monotonic() - started < 2 + 0.2 + 1.3  # the last is for a busy machine
    assert ask(client) == 1.0

    put(repository, ADDS.format(added=3))
    server.options = ON_FREE_PORTS
    server.reload()

    assert ask(client) == 3.0


def test_models_come_and_go(
    server: TritonServer,
    client: triton.InferenceServerClient,
    repository: Path,
    write_model: WriteModel,
) -> None:
    write_model("second", ADDS.format(added=5))
    server.reload()
    assert (ask(client), ask(client, "second")) == (1.0, 5.0)

    shutil.rmtree(repository / "second")
    server.reload()

    assert ask(client) == 1.0
    assert not client.is_model_ready("second")


def test_a_repository_that_is_deleted_or_replaced_is_served_until_a_reload(
    server: TritonServer, client: triton.InferenceServerClient, repository: Path
) -> None:
    """Triton looks every second, and would unload what it does not find."""
    shutil.rmtree(repository / "identity")
    time.sleep(2.5)
    assert ask(client) == 1.0
    with pytest.raises(RepositoryError, match="is not a model repository"):
        server.reload()

    code_of(repository).parent.mkdir(parents=True)
    config = Path(__file__).parent / "identity" / "config.pbtxt"
    shutil.copy(config, repository / "identity")
    put(repository, ADDS.format(added=2))
    time.sleep(2.5)
    assert ask(client) == 1.0

    server.reload()
    assert ask(client) == 2.0


def test_a_failure_leaves_what_was_deleted_before(
    server: TritonServer, client: triton.InferenceServerClient, repository: Path
) -> None:
    """What was served is held open: the failed load is undone without its files' names."""
    config = repository / "identity" / "config.pbtxt"
    kept = config.read_text()
    shutil.rmtree(repository / "identity")
    code_of(repository).parent.mkdir(parents=True)
    config.write_text(kept)
    put(repository, FAILS)

    with pytest.raises(ModelLoadError, match="not this one"):
        server.reload()

    assert ask(client) == 1.0


def test_nothing_is_left_and_nobody_else_reads_what_passes(
    server: TritonServer, repository: Path
) -> None:
    server.reload()
    before = files_open()
    put(repository, ADDS.format(added=2))
    server.reload()

    segments = list(Path("/dev/shm").glob(f"{server.shm_prefix}*"))
    assert segments
    assert {segment.stat().st_mode & 0o777 for segment in segments} == {0o600}
    assert files_open() == before
    server.stop()
    assert files_open() < before
    assert not server._directory.exists()
    assert not list(Path("/dev/shm").glob(f"{server.shm_prefix}*"))


def test_what_cleans_old_files_away_is_kept_out(server: TritonServer) -> None:
    """systemd-tmpfiles leaves a folder alone that it cannot lock."""
    folder = os.open(server._directory, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(folder)


def test_where_no_link_can_be_made_it_serves_on(
    server: TritonServer,
    client: triton.InferenceServerClient,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(repository, ADDS.format(added=2))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = files_open()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(LaunchError, match="takes no link: No space left"):
            server.reload()
    assert files_open() == before
    assert ask(client) == 1.0
    assert server.repository == check_repository(repository)

    server.reload()
    assert ask(client) == 2.0


def test_where_the_link_cannot_be_led_back_it_serves_on(
    server: TritonServer,
    client: triton.InferenceServerClient,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Triton would unload at once what is gone behind the link."""
    put(repository, FAILS)
    links = []

    def show_once(directory: Path, models: Path) -> None:
        links.append(models)
        if len(links) > 1:
            raise InstallationError("full", remedy="")
        show_models(directory, models)

    assert ask(client) == 1.0  # which opens a connection
    before = files_open()
    with monkeypatch.context() as patched:
        patched.setattr(shown, "show_models", show_once)
        with pytest.raises(ModelLoadError, match="not this one"):
            server.reload()
    time.sleep(2.5)  # Triton looks every second
    assert ask(client) == 1.0
    assert server.repository == check_repository(repository)

    put(repository, ADDS.format(added=2))
    server.reload()
    assert ask(client) == 2.0
    assert files_open() == before


def test_a_server_whose_link_cannot_be_made_leaves_nothing(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = files_open()
    monkeypatch.setattr(Path, "replace", full)

    with pytest.raises(InstallationError, match="takes no link: No space left"):
        TritonServer(repository, ON_FREE_PORTS).start()

    assert files_open() == before


def test_where_callers_load_models_the_server_does_not(repository: Path) -> None:
    options = replace(ON_FREE_PORTS, opened=frozenset({Api.MODEL_REPOSITORY}))

    with (
        TritonServer(repository, options) as server,
        pytest.raises(LaunchError, match="callers load models"),
    ):
        server.reload()


def test_a_server_that_does_not_run_loads_nothing(repository: Path) -> None:
    with pytest.raises(LaunchError, match="does not run"):
        TritonServer(repository, ON_FREE_PORTS).reload()


@pytest.fixture
def held(repository: Path, tmp_path: Path) -> Shown:
    """A snapshot, shown to nobody in ``private``."""
    (tmp_path / "private").mkdir()
    return Shown(check_repository(repository), tmp_path / "private", held=True)


def test_a_server_that_was_stopped_meanwhile_loads_nothing(
    held: Shown, tmp_path: Path
) -> None:
    """By another thread, while this one waited for a change before its own."""
    held.close()

    with pytest.raises(LaunchError, match="was stopped"):
        held.change(held.repository, lambda: None, timeout_s=1)
    with pytest.raises(LaunchError, match="was stopped"):
        held.again("identity", lambda: None, timeout_s=1)
    assert not list((tmp_path / "private").glob("*/identity"))


def test_a_stop_waits_for_a_change_that_is_under_way(held: Shown, tmp_path: Path) -> None:
    """Or the change would put its folders where all was removed."""
    stop = threading.Thread(target=held.close)
    waited: list[bool] = []

    def look() -> None:
        if not waited:
            stop.start()
            stop.join(0.2)
            waited.append(stop.is_alive())
        raise LaunchError("the server does not run")

    with pytest.raises(LaunchError, match="does not run"):
        held.change(held.repository, look, timeout_s=1)
    stop.join()

    assert waited == [True]
    assert not list((tmp_path / "private").glob("*/identity"))


def test_nothing_is_heard_where_no_link_could_be_made(
    held: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or each line of the log would be kept until the next change."""

    def full(*_: object) -> None:
        raise InstallationError("full", remedy="")

    monkeypatch.setattr(shown, "show_models", full)
    with pytest.raises(InstallationError, match="full"):
        held.change(held.repository, lambda: None, timeout_s=1)
    held.hear("a line")

    assert not held._heard
    held.close()


def test_a_snapshot_opens_the_files_themselves(repository: Path, tmp_path: Path) -> None:
    """Not their places alone (O_PATH): a network file system would not know of that."""
    snapshot = Snapshot(check_repository(repository), tmp_path / "snapshot")

    assert snapshot._files
    for each in snapshot._files:
        assert not fcntl.fcntl(each, fcntl.F_GETFL) & os.O_PATH
    snapshot.close()


def test_a_snapshot_of_what_vanishes_is_refused_whole(
    repository: Path, tmp_path: Path
) -> None:
    checked = check_repository(repository)
    shutil.rmtree(repository / "identity")
    before = os.listdir("/proc/self/fd")

    with pytest.raises(
        RepositoryError, match="identity: cannot be read, or linked to: No such"
    ):
        Snapshot(checked, tmp_path / "snapshot")

    assert os.listdir("/proc/self/fd") == before
    assert not (tmp_path / "snapshot").exists()


def test_a_snapshot_for_which_there_is_no_room_names_where(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", source, None, str(target))

    monkeypatch.setattr(os, "symlink", full)

    with pytest.raises(RepositoryError) as caught:
        Snapshot(check_repository(repository), tmp_path / "snapshot")
    assert caught.value.path == tmp_path / "snapshot" / "identity" / "1" / "model.py"


@pytest.mark.parametrize("name", ["config.pbtxt", "1/weights.bin"])
def test_a_pipe_among_the_files_is_named_and_not_waited_for(
    repository: Path, tmp_path: Path, name: str
) -> None:
    pipe = repository / "identity" / name
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    before = os.listdir("/proc/self/fd")

    with pytest.raises(RepositoryError, match="is a pipe, a socket or a device") as caught:
        Snapshot(check_repository(repository), tmp_path / "snapshot")

    assert caught.value.path == pipe
    assert os.listdir("/proc/self/fd") == before
    assert not (tmp_path / "snapshot").exists()


def test_files_from_a_clock_that_is_ahead_keep_nothing_from_being_loaded(
    repository: Path, server: TritonServer, client: triton.InferenceServerClient
) -> None:
    """As is with a clock that was set back: what follows is older than what was served."""
    code = code_of(repository)
    put(repository, ADDS.format(added=2))
    os.utime(code, (time.time() + 3600, time.time() + 3600))
    server.reload()
    assert ask(client) == 2

    put(repository, ADDS.format(added=3))
    server.reload()
    assert ask(client) == 3

    put(repository, FAILS)
    os.utime(code, (time.time() + 7200, time.time() + 7200))
    with pytest.raises(ModelLoadError):
        server.reload()
    assert ask(client) == 3
    put(repository, ADDS.format(added=4))
    server.reload()
    assert ask(client) == 4


def test_a_snapshot_is_younger_than_the_last_though_the_clock_was_set_back(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def times_of(folder: Path) -> list[int]:
        return [each.stat().st_mtime_ns for each in (folder, *folder.rglob("*"))]

    checked = check_repository(repository)
    for each in repository.rglob("*"):
        os.utime(each, (0, 0))  # an export of long ago
    first = Snapshot(checked, tmp_path / "first")
    an_hour_ago_ns = time.time_ns() - 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: an_hour_ago_ns)
    second = Snapshot(checked, tmp_path / "second")
    second.renew(than_ns=first.youngest_ns)

    model = tmp_path / "second" / "identity"
    latest_ns = max(times_of(tmp_path / "first"))
    assert min(model.stat().st_mtime_ns, (model / "1").stat().st_mtime_ns) > latest_ns
    first.close()
    second.close()


WHOLE = """
name: "whole" platform: "ensemble" max_batch_size: 8
input [ { name: "A" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "B" data_type: TYPE_FP32 dims: [ 1 ] } ]
ensemble_scheduling { step [ {
  model_name: "identity" model_version: -1
  input_map { key: "IN" value: "A" } output_map { key: "OUT" value: "B" }
} ] }
"""


def test_an_ensemble_whose_config_cannot_be_read_is_not_served_as_it_was(
    repository: Path,
) -> None:
    """Triton loads the old one over the new model, and would be taken to serve all."""
    version = repository / "whole" / "1"
    version.mkdir(parents=True)
    config = version.parent / "config.pbtxt"
    config.write_text(WHOLE)
    with (
        TritonServer(repository, ON_FREE_PORTS) as server,
        triton.InferenceServerClient(server.endpoints.grpc) as client,
    ):
        put(repository, ADDS.format(added=2))
        config.unlink()
        config.write_text("nonsense {")

        with pytest.raises(ModelLoadError, match="whole: failed to read text proto"):
            server.reload()

        assert ask(client) == 1
