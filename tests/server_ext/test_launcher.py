"""The launcher on the real Triton server: closed by default, clean at the end."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import struct
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from tcp_proxy import proxy
from until import until

from megatick_server.errors import (
    AddressError,
    InstallationError,
    LaunchError,
    ModelFailure,
    ModelLoadError,
    ReadyTimeoutError,
    ServerDiedError,
)
from megatick_server.launcher import Api, ServeOptions, TritonServer, keeper
from megatick_server.launcher import server as server_module
from megatick_server.launcher.command import CLOSED_HEADER
from megatick_server.launcher.diagnosis import model_failures
from megatick_server.launcher.private import MODELS

pytestmark = pytest.mark.triton

ON_FREE_PORTS = ServeOptions(grpc_port=0, metrics_port=0)
OPENED = frozenset(
    {Api.SHARED_MEMORY, Api.MODEL_CONFIG, Api.STATISTICS, Api.MODEL_REPOSITORY}
)

WriteModel = Callable[..., Path]
Call = Callable[[triton.InferenceServerClient], object]

CALLS: dict[Api, Call] = {
    Api.SHARED_MEMORY: lambda client: client.get_system_shared_memory_status(),
    Api.MODEL_REPOSITORY: lambda client: client.get_model_repository_index(),
    Api.MODEL_CONFIG: lambda client: client.get_model_config("identity"),
    Api.STATISTICS: lambda client: client.get_inference_statistics("identity"),
    Api.TRACE: lambda client: client.get_trace_settings(),
    Api.LOGGING: lambda client: client.get_log_settings(),
}
HTTP_PATHS: dict[Api, str] = {
    Api.SHARED_MEMORY: "/v2/systemsharedmemory/status",
    Api.MODEL_CONFIG: "/v2/models/identity/config",
    Api.STATISTICS: "/v2/models/identity/stats",
    Api.TRACE: "/v2/trace/setting",
    Api.LOGGING: "/v2/logging",
}


@pytest.fixture(scope="module")
def server(identity_repository: Path) -> Iterator[TritonServer]:
    """A server with the defaults, but for its ports."""
    with TritonServer(identity_repository, ON_FREE_PORTS) as server:
        yield server


@pytest.fixture(scope="module")
def opened(identity_repository: Path) -> Iterator[TritonServer]:
    """A server with HTTP and four of the six restricted APIs open."""
    options = replace(ON_FREE_PORTS, http_port=0, opened=OPENED)
    with TritonServer(identity_repository, options) as server:
        yield server


def identity(endpoint: str, value: float) -> float:
    request = triton.InferInput("IN", [1, 1], "FP32")
    request.set_data_from_numpy(np.array([[value]], np.float32))
    with triton.InferenceServerClient(endpoint) as client:
        reply = client.infer("identity", [request], client_timeout=10)
        return float(reply.as_numpy("OUT")[0, 0])


def processes_naming(text: str) -> list[str]:
    """Command lines on this machine that contain the text."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if text in line:
            found.append(line)
    return found


def left_of(server: TritonServer) -> list[str]:
    """Processes, shared memory and files of a server that was started."""
    assert server.shm_prefix
    segments = map(str, Path("/dev/shm").glob(f"{server.shm_prefix}*"))
    private = [str(server._directory)] if server._directory.exists() else []
    return [*processes_naming(server.shm_prefix), *segments, *private]


# --- what is open ---------------------------------------------------------------------


def test_answers_over_grpc_and_serves_metrics(server: TritonServer) -> None:
    assert identity(server.endpoints.grpc, 0.5) == 0.5
    with urllib.request.urlopen(f"http://{server.endpoints.metrics}/metrics") as reply:
        assert b'nv_inference_request_success{model="identity"' in reply.read()


def test_listens_on_loopback_for_grpc_and_metrics_alone(server: TritonServer) -> None:
    assert listening(server.pid) == {server.endpoints.grpc, server.endpoints.metrics}


def listening(pid: int) -> set[str]:
    """``host:port`` of each TCP socket on which a process listens."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        inodes.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = row.split()[:10]
            if state == "0A" and inode in inodes:  # TCP_LISTEN
                host, port = local.split(":")
                address = socket.inet_ntoa(struct.pack("<I", int(host[-8:], 16)))
                found.add(f"{address}:{int(port, 16)}")
    return found


@pytest.mark.parametrize("api", Api)
def test_refuses_each_restricted_api(server: TritonServer, api: Api) -> None:
    with (
        triton.InferenceServerClient(server.endpoints.grpc) as client,
        pytest.raises(triton.InferenceServerException) as caught,
    ):
        CALLS[api](client)

    assert caught.value.message() == (
        "This protocol is restricted, "
        f"expecting header 'triton-grpc-protocol-{CLOSED_HEADER}'"
    )
    assert caught.value.status() == "StatusCode.UNAVAILABLE"


@pytest.mark.parametrize("api", Api)
def test_opens_what_was_asked_and_no_more(opened: TritonServer, api: Api) -> None:
    with triton.InferenceServerClient(opened.endpoints.grpc) as client:
        if api in OPENED:
            CALLS[api](client)
        else:
            with pytest.raises(triton.InferenceServerException, match="is restricted"):
                CALLS[api](client)


@pytest.mark.parametrize("api", HTTP_PATHS)
def test_opens_the_same_over_http(opened: TritonServer, api: Api) -> None:
    connection = http.client.HTTPConnection(str(opened.endpoints.http))

    connection.request("GET", HTTP_PATHS[api])
    reply = connection.getresponse()
    body = reply.read().decode()
    connection.close()

    if api in OPENED:
        assert reply.status == 200
    else:
        assert reply.status == 403
        assert f"This API is restricted, expecting header '{CLOSED_HEADER}'" in body


def test_callers_can_unload_and_load_where_that_was_opened(
    opened: TritonServer,
) -> None:
    with triton.InferenceServerClient(opened.endpoints.grpc) as client:
        client.unload_model("identity")
        until(lambda: not client.is_model_ready("identity"))
        client.load_model("identity")
        assert client.is_model_ready("identity")


# --- a path is no command -------------------------------------------------------------


@pytest.fixture
def odd_repository(tmp_path: Path, write_model: WriteModel) -> Path:
    """A repository whose path a shell would split and unquote."""
    odd = tmp_path / "it's two words" / 'a"\\n;' / "repository"
    odd.parent.mkdir(parents=True)
    return write_model().rename(odd)


def test_runs_no_command_in_a_path(tmp_path: Path, write_model: WriteModel) -> None:
    """``HOME`` is the server's private directory."""
    odd = tmp_path / "j$(touch ${HOME}pwned)"
    odd.mkdir()
    server = TritonServer(write_model().rename(odd / "repository"), ON_FREE_PORTS)

    try:
        with server:
            assert identity(server.endpoints.grpc, 4.0) == 4.0
    finally:
        touched = Path(f"{server._directory}pwned")
        was_run = touched.exists()
        touched.unlink(missing_ok=True)
    assert not was_run


def test_serves_a_path_of_any_characters(odd_repository: Path) -> None:
    lines: list[str] = []
    with TritonServer(odd_repository, ON_FREE_PORTS, on_log=lines.append) as server:
        assert identity(server.endpoints.grpc, 4.0) == 4.0

    for log in (lines, server.log):
        assert any(str(odd_repository) in line for line in log)
        assert not any(str(server._directory / MODELS) in line for line in log)


def test_names_the_path_that_was_asked_for(odd_repository: Path) -> None:
    code = odd_repository / "identity" / "1" / "model.py"
    code.write_text(FAILS.format(statement="raise ValueError(__file__)"))
    failing = TritonServer(odd_repository, ON_FREE_PORTS)

    with pytest.raises(ModelLoadError) as caught, failing:
        pytest.fail("it is not ready")

    (failure,) = caught.value.failures
    place = f"({code}, line 4, in initialize)"
    assert failure.reason == f"ValueError: {code} {place}"


def test_names_the_path_of_a_missing_file(odd_repository: Path) -> None:
    failing = TritonServer(odd_repository, ON_FREE_PORTS)
    code = odd_repository / "identity" / "1" / "model.py"
    code.unlink()

    with pytest.raises(ModelLoadError) as caught, failing:
        pytest.fail("it is not ready")

    (failure,) = caught.value.failures
    assert failure.model == "identity"
    assert f"'{code}'" in failure.reason


def test_refuses_to_start_where_a_shell_would_get_lost(
    identity_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "two words"))

    with pytest.raises(InstallationError, match="TMPDIR"):
        TritonServer(identity_repository, ON_FREE_PORTS).start()


def test_lets_nobody_else_read_what_passes_through_shared_memory(
    server: TritonServer,
) -> None:
    segments = list(Path("/dev/shm").glob(f"{server.shm_prefix}*"))

    assert segments
    assert {segment.stat().st_mode & 0o777 for segment in segments} == {0o600}


# --- the key is on the command line, and no use -----------------------------------------


def test_reading_the_key_does_not_open_grpc(server: TritonServer) -> None:
    key = key_of(server, "--grpc-restricted-protocol")
    host, port = server.endpoints.grpc.split(":")
    config = ("ModelConfig", b"\x0a\x08identity")  # field 1, name

    header = f"triton-grpc-protocol-{CLOSED_HEADER}".encode()
    # The hand-made request is a good one: an open call is answered.
    assert grpc_status(host, int(port), "ServerReady", b"") == b"0"
    assert grpc_status(host, int(port), *config) == b"14"  # UNAVAILABLE
    assert grpc_status(host, int(port), *config, (header, key)) != b"0"
    assert grpc_status(host, int(port), *config, (header.lower(), key)) != b"0"


def test_reading_the_key_does_not_open_http(opened: TritonServer) -> None:
    key = key_of(opened, "--http-restricted-api")
    host, port = str(opened.endpoints.http).split(":")

    def ask(path: str, headers: bytes) -> bytes:
        with socket.create_connection((host, int(port)), timeout=5) as raw:
            raw.sendall(
                f"GET {path} HTTP/1.1\r\nHost: x\r\n".encode() + headers + b"\r\n\r\n"
            )
            return raw.recv(65536).partition(b"\r\n")[0]

    header = CLOSED_HEADER.encode() + b": "
    assert ask("/v2/health/ready", b"X: y") == b"HTTP/1.1 200 OK"
    folded = key.replace(b"\n", b"\r\n ")
    for value in (key, folded, key.replace(b"\n", b"\n ")):
        assert b"200" not in ask(HTTP_PATHS[Api.LOGGING], header + value)


def key_of(server: TritonServer, flag: str) -> bytes:
    arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes().split(b"\0")
    (setting,) = [each for each in arguments if each.startswith(flag.encode())]
    return setting.rpartition(b"=")[2]


def grpc_status(
    host: str, port: int, method: str, body: bytes, *headers: tuple[bytes, bytes]
) -> bytes | None:
    """Call a method in hand-made HTTP/2, which no client library would agree to send.

    Returns:
        The reply's grpc-status; None if the server did not answer the call.

    Source: RFC 9113 section 4.1 (frames), RFC 7541 section 6.2.2 (literals).
    """

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
        return head + struct.pack(">I", stream) + payload

    def literal(text: bytes) -> bytes:
        assert len(text) < 127
        return bytes([len(text)]) + text

    block = b"".join(
        b"\0" + literal(name) + literal(value)
        for name, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", f"/inference.GRPCInferenceService/{method}".encode()),
            (b":authority", b"x"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            *headers,
        )
    )
    message = b"\0" + struct.pack(">I", len(body)) + body
    received = b""
    with socket.create_connection((host, port), timeout=10) as raw:
        raw.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        raw.sendall(frame(1, 4, 1, block) + frame(0, 1, 1, message))
        while b"grpc-status" not in received:
            try:
                received += (chunk := raw.recv(65536))
            except TimeoutError:
                return None
            if not chunk:
                return None
    _, _, rest = received.partition(b"grpc-status")
    return rest[1 : 1 + rest[0]]


# --- why it does not start ------------------------------------------------------------


def test_names_a_taken_port(server: TritonServer, identity_repository: Path) -> None:
    port = int(server.endpoints.grpc.split(":")[1])
    second = TritonServer(identity_repository, replace(ON_FREE_PORTS, grpc_port=port))

    with pytest.raises(AddressError, match=f"gRPC cannot listen on 127.0.0.1:{port}"):
        second.start()


def test_takes_no_other_server_for_itself(
    server: TritonServer, identity_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that is taken after the launcher looked is Triton's to report."""
    monkeypatch.setattr(server_module, "choose_endpoints", lambda options: server.endpoints)
    second = TritonServer(identity_repository, ON_FREE_PORTS)

    with pytest.raises(AddressError, match="already in use") as caught, second:
        pytest.fail("the other server was taken for this one")

    assert caught.value.endpoint == server.endpoints.grpc
    assert not left_of(second)


FAILS = """
class TritonPythonModel:
    def initialize(self, args):
        {statement}
"""


def test_names_each_model_that_fails_and_its_exception(write_model: WriteModel) -> None:
    code = FAILS.format(statement='raise ValueError("the weights are purple")')
    write_model("good")
    write_model("broken", "def (")
    repository = write_model("purple", code)
    failing = TritonServer(repository, ON_FREE_PORTS)

    with pytest.raises(ModelLoadError) as caught, failing:
        pytest.fail("half of its models look ready")

    reasons = {each.model: each.reason for each in caught.value.failures}
    place = f"({repository}/purple/1/model.py, line 4, in initialize)"
    assert reasons == {
        "purple": f"ValueError: the weights are purple {place}",
        "broken": "SyntaxError: invalid syntax (model.py, line 1)",
    }
    assert reasons["purple"] in str(caught.value)
    assert not left_of(failing)


def spoil_config(repository: Path) -> None:
    (repository / "identity" / "config.pbtxt").write_text("nonsense {")


def drop_version(repository: Path) -> None:
    (repository / "identity" / "1" / "model.py").unlink()
    (repository / "identity" / "1").rmdir()


def drop_code(repository: Path) -> None:
    (repository / "identity" / "1" / "model.py").unlink()


def want_another_backend(repository: Path) -> None:
    config = repository / "identity" / "config.pbtxt"
    config.write_text(config.read_text().replace('"python"', '"onnxruntime"'))


def lose_a_step(repository: Path) -> None:
    config = repository / "identity" / "config.pbtxt"
    step = """ensemble_scheduling { step [ {
        model_name: "tokenize" model_version: -1
        input_map { key: "IN" value: "IN" } output_map { key: "OUT" value: "OUT" }
    } ] }"""
    text = config.read_text().replace('backend: "python"', 'platform: "ensemble"')
    config.write_text(text.partition("instance_group")[0] + step)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(spoil_config, "failed to read text proto", id="config"),
        pytest.param(drop_version, "at least one version", id="no-version"),
        pytest.param(drop_code, "Python model file not found", id="no-code"),
        pytest.param(want_another_backend, "backend 'onnxruntime'", id="backend"),
        pytest.param(lose_a_step, "not available.*: tokenize", id="ensemble"),
    ],
)
def test_says_why_a_model_did_not_load(
    spoil: Callable[[Path], None], reason: str, write_model: WriteModel
) -> None:
    repository = write_model()
    failing = TritonServer(repository, ON_FREE_PORTS)
    spoil(repository)  # since then; some of it would have been refused before

    with pytest.raises(ModelLoadError, match=f"identity: .*{reason}"), failing:
        pytest.fail("it is not ready")

    assert not left_of(failing)


ENSEMBLE = """
name: "whole" platform: "ensemble" max_batch_size: 8
input { name: "IN" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "OUT" data_type: TYPE_FP32 dims: [ 1 ] }
ensemble_scheduling { step [ {
    model_name: "broken" model_version: -1
    input_map { key: "IN" value: "IN" } output_map { key: "OUT" value: "OUT" }
} ] }
"""


def test_says_why_a_step_failed_whose_own_line_is_lost(write_model: WriteModel) -> None:
    """A verbose server may write more lines after it than are kept."""
    repository = write_model("broken", FAILS.format(statement='raise ValueError("purple")'))
    (repository / "whole" / "1").mkdir(parents=True)
    (repository / "whole" / "config.pbtxt").write_text(ENSEMBLE)
    failing = TritonServer(repository, ON_FREE_PORTS)
    with pytest.raises(ModelLoadError), failing:
        pytest.fail("it is not ready")

    kept = [line for line in failing.log if "failed to load 'broken'" not in line]
    (failure,) = model_failures(kept)

    assert len(kept) < len(failing.log)
    place = f"({repository}/broken/1/model.py, line 4, in initialize)"
    assert failure == ModelFailure("broken", f"ValueError: purple {place}")


def test_gives_up_on_a_model_that_loads_too_long(write_model: WriteModel) -> None:
    code = FAILS.format(statement="import time; time.sleep(60)")
    slow = TritonServer(
        write_model("slow", code), replace(ON_FREE_PORTS, ready_timeout_s=5.0)
    )

    with pytest.raises(ReadyTimeoutError, match="still loading: slow"), slow:
        pytest.fail("it is not ready")

    assert not left_of(slow)


# --- how it ends ----------------------------------------------------------------------


def test_stop_leaves_nothing_behind(write_model: WriteModel) -> None:
    """Neither process, nor shared memory, nor a file beside the models."""
    repository = write_model()
    before = sorted(repository.rglob("*"))
    server = TritonServer(repository, ON_FREE_PORTS)

    with server:
        assert identity(server.endpoints.grpc, 2.0) == 2.0
        # The keeper, tritonserver and one stub; its segment; the private directory.
        assert len(processes_naming(server.shm_prefix)) == 3
        assert len(left_of(server)) == 5

    assert not left_of(server)
    assert sorted(repository.rglob("*")) == before
    server.stop()  # harmless


DAEMON = """
import subprocess, sys

class TritonPythonModel:
    def initialize(self, args):
        sleep = "import time; time.sleep(600)"
        null = subprocess.DEVNULL
        subprocess.Popen(
            ["python3", "-c", sleep, "{name}"],
            stdin=null, stdout=null, stderr=null, start_new_session=True,
        )
"""


def test_ends_what_a_step_started(write_model: WriteModel, tmp_path: Path) -> None:
    """Even a process that left the server's session and group."""
    name = f"{tmp_path}/daemon"
    repository = write_model("daemon", DAEMON.format(name=name))

    with TritonServer(repository, ON_FREE_PORTS):
        assert len(processes_naming(name)) == 1

    assert not processes_naming(name)


def test_outlives_the_thread_that_started_it(write_model: WriteModel) -> None:
    """What a parent-death signal alone gets wrong: it goes by threads."""
    server = TritonServer(write_model(), ON_FREE_PORTS)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()

    try:
        server.wait_ready()
        assert identity(server.endpoints.grpc, 3.0) == 3.0
    finally:
        server.stop()


def test_says_that_the_server_died(write_model: WriteModel) -> None:
    with TritonServer(write_model(), ON_FREE_PORTS) as server:
        server.kill()

        with pytest.raises(ServerDiedError, match="on its own with exit status 137"):
            server.wait()

        assert not left_of(server)


def test_a_killed_keeper_leaves_nothing_either(write_model: WriteModel) -> None:
    with TritonServer(write_model(), ON_FREE_PORTS) as server:
        keeper = int(Path(f"/proc/{server.pid}/stat").read_text().split()[3])
        os.kill(keeper, signal.SIGKILL)

        with pytest.raises(ServerDiedError):
            server.wait()

    until(lambda: not left_of(server))  # the stub notices that its server is gone


WITH_METRICS = """
import triton_python_backend_utils as pb_utils
from megatick_server.meters import Meters
from megatick_server.metrics import REQUESTS
from megatick_server.publisher import Publisher

class TritonPythonModel:
    def initialize(self, args):
        meters = Meters("metered")
        meters.add(REQUESTS)
        publisher = Publisher(meters, pb_utils, period_s=0.2)
        publisher._tell()
"""


def test_steps_with_metrics_end_where_nobody_ends_them(write_model: WriteModel) -> None:
    """Triton's stub by itself waits for ever for who takes the metrics away."""
    with TritonServer(write_model("metered", WITH_METRICS), ON_FREE_PORTS) as server:
        keeper = int(Path(f"/proc/{server.pid}/stat").read_text().split()[3])
        os.kill(keeper, signal.SIGKILL)

        with pytest.raises(ServerDiedError):
            server.wait()

    until(lambda: not left_of(server))


def test_who_connects_anew_leaves_a_server_before_it_stops(
    identity_repository: Path,
) -> None:
    """As in a rolling update: the address leads elsewhere, and then the old one stops.

    A connection that stands would stay with the old one, which turns its calls away while
    it stops.
    """
    options = ServeOptions(grpc_port=0, metrics_port=None, connection_age_s=1)
    stopped = threading.Event()
    request = triton.InferInput("IN", [1, 1], "FP32")
    request.set_data_from_numpy(np.array([[0.5]], np.float32))

    def call_until_stopped(address: str) -> list[str]:
        # Without this, all connections of a process to one address are the same one.
        own = [("grpc.use_local_subchannel_pool", 1)]
        failures = []
        with triton.InferenceServerClient(address, channel_args=own) as client:
            while not stopped.is_set():
                try:
                    client.infer("identity", [request], client_timeout=10)
                except triton.InferenceServerException as error:
                    failures.append(str(error))
        return failures

    with (
        TritonServer(identity_repository, options) as new,
        TritonServer(identity_repository, options) as old,
        proxy(old.endpoints.grpc) as service,
        ThreadPoolExecutor() as callers,
    ):
        calling = [callers.submit(call_until_stopped, service.address) for _ in range(3)]
        try:
            until(lambda: service.connections >= 3)
            service.lead_to(new.endpoints.grpc)
            time.sleep(4)  # 1 s, up to a tenth more; the rest is for a busy machine
            old.stop()
        finally:
            stopped.set()

    assert [each.result() for each in calling] == [[], [], []]


def test_a_log_that_cannot_be_shown_is_read_on(
    identity_repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """That the server is ready is known from it alone."""
    shown = []

    def show(line: str) -> None:
        shown.append(line)
        raise ValueError("no such screen")

    options = replace(ON_FREE_PORTS, ready_timeout_s=15)
    with TritonServer(identity_repository, options, on_log=show) as server:
        assert identity(server.endpoints.grpc, 0.5) == 0.5
        assert len(server.log) > 1

    assert len(shown) == 1
    assert "a line of the log could not be shown" in caplog.text
    assert "no such screen" in caplog.text


def test_is_started_once(server: TritonServer) -> None:
    assert server.started
    with pytest.raises(LaunchError, match="started already"):
        server.start()


def test_has_no_address_before_it_starts(identity_repository: Path) -> None:
    server = TritonServer(identity_repository)

    assert not server.started
    with pytest.raises(LaunchError, match="not started"):
        _ = server.endpoints


def test_a_server_that_speaks_before_the_keeper_is_started(
    identity_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine: the start waited without end for a log that never ended."""
    late = tmp_path / "keeper.py"
    told = "        print(server.pid"
    late.write_text(
        Path(keeper.__file__).read_text().replace(told, f"        time.sleep(2)\n{told}")
    )
    monkeypatch.setattr(keeper, "__file__", str(late))

    with TritonServer(identity_repository, ON_FREE_PORTS) as server:
        assert "triton" in Path(f"/proc/{server.pid}/cmdline").read_text()
        assert server.log
