"""TLS and keys of the launcher: what it refuses, and what the real server makes of them."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from certificates import Authority

from megatick_server.errors import OptionsError
from megatick_server.launcher import AccessKey, Api, ServeOptions, ServerTls, TritonServer
from megatick_server.launcher.keys import ADMIN_KEY, CALLER_KEY, GRPC_PREFIX

CALLER = AccessKey("caller-0123456789abcdef._~+/-==")
ADMIN = AccessKey("admin-0123456789abcdef")
WRONG = "wrong-0123456789abcdef"

Call = Callable[[triton.InferenceServerClient, dict[str, str]], object]

RESTRICTED: dict[Api, Call] = {
    Api.SHARED_MEMORY: lambda c, headers: c.get_system_shared_memory_status(
        headers=headers
    ),
    Api.MODEL_REPOSITORY: lambda c, headers: c.get_model_repository_index(headers=headers),
    Api.MODEL_CONFIG: lambda c, headers: c.get_model_config("identity", headers=headers),
    Api.STATISTICS: lambda c, headers: c.get_inference_statistics(headers=headers),
    Api.TRACE: lambda c, headers: c.get_trace_settings(headers=headers),
    Api.LOGGING: lambda c, headers: c.get_log_settings(headers=headers),
}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


# --- what is refused before anything starts -------------------------------------------


def refused(make: Callable[[], object]) -> str:
    with pytest.raises(OptionsError) as caught:
        make()
    return str(caught.value)


def test_takes_a_certificate_and_its_key(authority: Authority) -> None:
    pair = authority.issue("localhost")

    tls = ServerTls.of(pair.certificate, pair.key, authority.ca)

    assert tls == ServerTls(pair.certificate, pair.key, authority.ca)
    assert ServerTls.of(None, None, None) is None


def test_refuses_half_of_a_pair_by_name(authority: Authority) -> None:
    pair = authority.issue("localhost")

    assert refused(lambda: ServerTls.of(pair.certificate, None, None)).startswith(
        "TLS key: expected a file"
    )
    for key, ca in ((pair.key, None), (None, authority.ca)):
        said = refused(lambda key=key, ca=ca: ServerTls.of(None, key, ca))  # type: ignore[misc]
        assert said.startswith("TLS certificate: expected a file")


def test_refuses_another_certificates_key(authority: Authority) -> None:
    pair, other = authority.issue("a"), authority.issue("b", file="other")

    said = refused(lambda: ServerTls(pair.certificate, other.key))

    assert said == (
        f"TLS key: expected the private key of {pair.certificate}, "
        f"found '{other.key}: something else'"
    )


def test_refuses_an_encrypted_key_and_asks_nobody_for_its_password(
    authority: Authority, tmp_path: Path
) -> None:
    pair, encrypted = authority.issue("a"), tmp_path / "encrypted.key"
    subprocess.run(
        [
            *("openssl", "pkey", "-in", pair.key, "-aes256"),
            *("-out", encrypted, "-passout", "pass:secret"),
        ],
        check=True,
    )

    said = refused(lambda: ServerTls(pair.certificate, encrypted))

    assert said.startswith("TLS key: expected a PEM file with an unencrypted private key")


@pytest.mark.parametrize("option", ["TLS certificate", "TLS key", "TLS client CA"])
@pytest.mark.parametrize("content", [None, "no PEM"])
def test_names_the_file_that_is_not_what_it_should_be(
    authority: Authority, tmp_path: Path, option: str, content: str | None
) -> None:
    pair, bad = authority.issue("a"), tmp_path / "bad.pem"
    if content is not None:
        bad.write_text(content)
    files = {"certificate": pair.certificate, "key": pair.key, "client CA": authority.ca}
    files[option.removeprefix("TLS ")] = bad

    said = refused(lambda: ServerTls(*files.values()))

    assert said.startswith(f"{option}: expected a ")
    assert str(bad) in said
    assert ("No such file" in said) is (content is None)


def test_refuses_http_beside_tls(authority: Authority) -> None:
    pair = authority.issue("a")
    tls = ServerTls(pair.certificate, pair.key)

    said = refused(lambda: ServeOptions(tls=tls, http_port=8000))

    assert said == (
        "HTTP port: expected none beside a TLS certificate, since Triton's HTTP has no "
        "TLS, found 8000"
    )


def test_reads_a_key_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{ADMIN.value}\n")

    assert AccessKey.read(tmp_path / "key", option="admin key") == ADMIN


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"a" * 15, id="15-characters"),
        pytest.param(b"two words and more of them", id="spaces"),
        pytest.param(b"0123456789abcdef\n0123456789abcdef", id="two-lines"),
        pytest.param("0123456789abcdefgh\u00e4".encode(), id="not-ascii"),
    ],
)
def test_refuses_what_is_no_key_and_does_not_show_it(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)

    said = refused(lambda: AccessKey.read(file, option="admin key"))

    assert said.startswith("admin key: expected one line of at least 16 ")
    assert said.endswith(f"found '{file}: something else'")


def test_names_a_key_file_that_is_not_there(tmp_path: Path) -> None:
    said = refused(lambda: AccessKey.read(tmp_path / "none", option="caller key"))

    assert said.startswith("caller key: expected a file with a key, found")
    assert "none: No such file or directory" in said


def test_refuses_one_key_for_both() -> None:
    said = refused(lambda: ServeOptions(caller_key=ADMIN, admin_key=ADMIN))

    assert said == "admin key: expected another than the caller key, found 'the same'"


def test_no_repr_shows_a_key() -> None:
    options = ServeOptions(caller_key=CALLER, admin_key=ADMIN)

    assert CALLER.value not in repr(options)
    assert ADMIN.value not in repr(options)


@pytest.mark.parametrize(
    ("guards", "unguarded"),
    [
        pytest.param((), "unauthenticated and in the clear", id="nothing"),
        pytest.param(("tls",), "unauthenticated", id="tls"),
        pytest.param(("key",), "in the clear", id="key"),
        pytest.param(("tls", "key"), None, id="tls-and-key"),
        pytest.param(("mutual",), None, id="mutual-tls"),
    ],
)
def test_says_what_an_open_address_still_lacks(
    authority: Authority, guards: tuple[str, ...], unguarded: str | None
) -> None:
    pair = authority.issue("a")
    given: dict[str, Any] = {
        "tls": {"tls": ServerTls(pair.certificate, pair.key)},
        "mutual": {"tls": ServerTls(pair.certificate, pair.key, authority.ca)},
        "key": {"caller_key": CALLER},
    }
    chosen = {name: value for guard in guards for name, value in given[guard].items()}

    exposures = ServeOptions(address="10.0.0.1", **chosen).exposures

    if unguarded is None:
        assert exposures == ()
    else:
        (exposure,) = exposures
        assert exposure.endswith(f"can call the server, {unguarded}")


def test_an_admin_key_is_a_risk_and_says_where_it_can_be_read() -> None:
    (exposure,) = ServeOptions(admin_key=ADMIN).exposures

    assert "running code" in exposure
    assert "command line, which every user of this machine can read" in exposure


# --- the real server ------------------------------------------------------------------


@pytest.fixture(scope="module")
def keyed(identity_repository: Path) -> Iterator[TritonServer]:
    """A server that wants both keys, over HTTP too."""
    options = ServeOptions(
        grpc_port=0, http_port=0, metrics_port=None, caller_key=CALLER, admin_key=ADMIN
    )
    with TritonServer(identity_repository, options) as server:
        yield server


def key(name: str, value: str) -> dict[str, str]:
    return {GRPC_PREFIX + name: value}


def infer(client: triton.InferenceServerClient, headers: dict[str, str]) -> float:
    given = triton.InferInput("IN", [1, 1], "FP32")
    given.set_data_from_numpy(np.array([[0.5]], np.float32))
    reply = client.infer("identity", [given], headers=headers, client_timeout=10)
    return float(reply.as_numpy("OUT")[0, 0])


@pytest.mark.triton
@pytest.mark.parametrize("api", Api)
def test_an_admin_key_opens_what_is_restricted(keyed: TritonServer, api: Api) -> None:
    with triton.InferenceServerClient(keyed.endpoints.grpc) as client:
        RESTRICTED[api](client, key(ADMIN_KEY, ADMIN.value))
        for other in ({}, key(ADMIN_KEY, WRONG), key(CALLER_KEY, CALLER.value)):
            with pytest.raises(triton.InferenceServerException) as caught:
                RESTRICTED[api](client, other)
            assert caught.value.message() == (
                f"This protocol is restricted, expecting header '{GRPC_PREFIX}{ADMIN_KEY}'"
            )


@pytest.mark.triton
def test_an_admin_loads_and_unloads(keyed: TritonServer) -> None:
    headers = key(ADMIN_KEY, ADMIN.value)
    with triton.InferenceServerClient(keyed.endpoints.grpc) as client:
        client.unload_model("identity", headers=headers)
        client.load_model("identity", headers=headers)
        assert client.is_model_ready("identity")


@pytest.mark.triton
def test_a_caller_key_opens_inference_and_metadata(keyed: TritonServer) -> None:
    right = key(CALLER_KEY, CALLER.value)
    with triton.InferenceServerClient(keyed.endpoints.grpc) as client:
        assert infer(client, right) == 0.5
        assert client.get_model_metadata("identity", headers=right).name == "identity"
        assert client.is_server_ready()  # whoever asks
        for call in (infer, lambda c, h: c.get_server_metadata(headers=h)):
            for other in ({}, key(CALLER_KEY, WRONG), key(ADMIN_KEY, ADMIN.value)):
                with pytest.raises(triton.InferenceServerException, match="restricted"):
                    call(client, other)


@pytest.mark.triton
@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/v2/models/identity", (CALLER_KEY, CALLER.value)),
        ("/v2/models/identity/config", (ADMIN_KEY, ADMIN.value)),
    ],
)
def test_the_keys_open_the_same_over_http(
    keyed: TritonServer, path: str, header: tuple[str, str]
) -> None:
    request = urllib.request.Request(f"http://{keyed.endpoints.http}{path}")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 403
    caught.value.close()

    request.add_header(*header)
    with urllib.request.urlopen(request) as reply:
        assert reply.status == 200


@pytest.mark.triton
def test_no_log_shows_a_key(keyed: TritonServer) -> None:
    assert keyed.log
    assert not [line for line in keyed.log if CALLER.value in line or ADMIN.value in line]


@pytest.mark.triton
def test_serves_with_mutual_tls(
    identity_repository: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From paths relative to where the command runs, though Triton runs elsewhere."""
    monkeypatch.chdir(authority.ca.parent)
    authority.issue("localhost")
    ours = authority.issue("a-caller", file="caller")
    tls = ServerTls(Path("server.pem"), Path("server.key"), Path("ca.pem"))
    options = ServeOptions(grpc_port=0, metrics_port=None, tls=tls)

    with TritonServer(identity_repository, options) as server:
        port = server.endpoints.grpc.partition(":")[2]
        with triton.InferenceServerClient(
            f"localhost:{port}",
            ssl=True,
            root_certificates=str(authority.ca),
            private_key=str(ours.key),
            certificate_chain=str(ours.certificate),
        ) as client:
            assert infer(client, {}) == 0.5
