"""TLS, keys and tokens between the SDK and the real Triton, with certificates made here."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import pytest
from certificates import Authority, Pair
from endpoint import Endpoint, serve
from tritonclient.grpc import service_pb2_grpc

from megatick_client import (
    NO_RETRIES,
    BadRequest,
    ClientError,
    ServerUnavailable,
    Tls,
    Unauthenticated,
)
from megatick_client.channels import STAMP_EVERY_S
from megatick_server.launcher import AccessKey, ServerTls

if TYPE_CHECKING:
    from tests.client.conftest import MakeClient, StartTriton

HEADER = "triton-grpc-protocol-megatick-caller-key"
SECRET = "the-key-0123456789abcdef"
MODELS = ("sentiment", "sentiment_step")
NAME = "megatick.test"

# A text of one plus sign has the score (2 - 1) / (3 + 1).
TEXT, SCORE = "+", 0.25


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signed the servers' certificates, and those of callers that they let in."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def caller(authority: Authority) -> Pair:
    return authority.issue("caller", file="caller")


@pytest.fixture(scope="module")
def guarded(start_triton: StartTriton, authority: Authority) -> str:
    """Where a server has TLS for its address, and wants a key."""
    pair = authority.issue("127.0.0.1", file="guarded")
    tls = ServerTls(pair.certificate, pair.key)
    return start_triton(*MODELS, tls=tls, caller_key=AccessKey(SECRET)).endpoints.grpc


@pytest.fixture(scope="module")
def mutual(start_triton: StartTriton, authority: Authority) -> str:
    """Where a server wants the caller's certificate, and has one for another name."""
    pair = authority.issue(NAME, file="mutual")
    tls = ServerTls(pair.certificate, pair.key, authority.ca)
    return start_triton(*MODELS, tls=tls).endpoints.grpc


def refused(make_client: MakeClient, address: str, **options: Any) -> ClientError:
    """The error of a call, which must come at once."""
    begin_s = time.monotonic()
    with (
        make_client(address, timeout_s=60, retries=NO_RETRIES, **options) as client,
        pytest.raises(ClientError) as caught,
    ):
        client.score(TEXT)
    assert time.monotonic() - begin_s < 30
    return caught.value


# --- TLS ------------------------------------------------------------------------------


@pytest.mark.triton
def test_mutual_tls_with_a_name_of_the_servers_own(
    make_client: MakeClient, mutual: str, authority: Authority, caller: Pair
) -> None:
    tls = Tls(authority.ca, caller.certificate, caller.key, server_name=NAME)
    with make_client(mutual, tls=tls) as client:
        assert client.score(TEXT).score == SCORE
        assert client.is_ready()


@pytest.mark.triton
def test_a_server_of_an_authority_that_is_not_trusted(
    make_client: MakeClient, guarded: str, stranger: Authority
) -> None:
    for tls in (Tls(stranger.ca), Tls()):
        error = refused(make_client, guarded, tls=tls)

        assert type(error) is ServerUnavailable
        assert str(error).startswith(
            f"{guarded}: no authority that this client trusts signed the server's "
            "certificate (call to 'sentiment', UNAVAILABLE: "
        )
        assert str(error).endswith("as Tls(ca=…).")


@pytest.mark.triton
@pytest.mark.parametrize("server_name", [None, "another.test"])
def test_a_server_of_another_name(
    make_client: MakeClient,
    mutual: str,
    authority: Authority,
    caller: Pair,
    server_name: str | None,
) -> None:
    tls = Tls(authority.ca, caller.certificate, caller.key, server_name=server_name)

    error = refused(make_client, mutual, tls=tls)

    assert type(error) is ServerUnavailable
    assert f"{mutual}: the server's certificate is for another name (" in str(error)
    assert "Tls(server_name=…)" in str(error)


@pytest.mark.triton
def test_a_server_whose_certificate_has_expired(
    make_client: MakeClient, start_triton: StartTriton, authority: Authority
) -> None:
    pair = authority.issue("127.0.0.1", file="expired", expired=True)
    tls = ServerTls(pair.certificate, pair.key)
    address = start_triton(*MODELS, tls=tls).endpoints.grpc

    error = refused(make_client, address, tls=Tls(authority.ca))

    assert type(error) is ServerUnavailable
    assert f"{address}: the server's certificate has expired (" in str(error)
    assert "Renew it and restart the server" in str(error)


@pytest.mark.triton
def test_a_server_without_tls(
    make_client: MakeClient, address_of_sentiment: str, authority: Authority
) -> None:
    error = refused(make_client, address_of_sentiment, tls=Tls(authority.ca))

    assert type(error) is ServerUnavailable
    assert f"{address_of_sentiment}: the server speaks no TLS (" in str(error)


@pytest.mark.triton
@pytest.mark.parametrize(
    "case", ["in the clear", "no certificate", "a stranger's", "an expired one"]
)
def test_a_caller_whom_mutual_tls_keeps_out(
    make_client: MakeClient,
    mutual: str,
    authority: Authority,
    stranger: Authority,
    case: str,
) -> None:
    tls: Tls | None = Tls(authority.ca, server_name=NAME)
    assert tls is not None
    if case == "in the clear":
        tls = None
    elif case != "no certificate":
        other = (
            stranger.issue("caller")
            if case == "a stranger's"
            else authority.issue("caller", file="old", expired=True)
        )
        tls = replace(tls, certificate=other.certificate, key=other.key)

    error = refused(make_client, mutual, tls=tls)

    assert type(error) is ServerUnavailable
    assert f"{mutual}: the server closed the connection before the call (" in str(error)
    assert "if it wants its callers' certificate, pass certificate= and key= (" in str(
        error
    )


@contextmanager
def tls_server(pair: Pair) -> Iterator[str]:
    """A gRPC server of this process, which no Triton could be started as; its address."""
    server = grpc.server(ThreadPoolExecutor(1))
    files = (pair.key.read_bytes(), pair.certificate.read_bytes())
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([files]))
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait()


def test_a_server_whose_certificate_is_of_tomorrow(
    make_client: MakeClient, authority: Authority
) -> None:
    with tls_server(authority.issue("127.0.0.1", file="early", early=True)) as address:
        error = refused(make_client, address, tls=Tls(authority.ca))

    assert type(error) is ServerUnavailable
    assert f"{address}: the server's certificate is not valid yet (" in str(error)


@pytest.mark.triton
def test_another_server_answers_where_one_has_a_bad_certificate(
    make_client: MakeClient, guarded: str, mutual: str, authority: Authority
) -> None:
    """The second one's certificate is not for its address."""
    headers = {HEADER: SECRET}
    with make_client(
        [guarded, mutual], tls=Tls(authority.ca), headers=headers, timeout_s=30
    ) as client:
        addresses = {client.score(TEXT).reply.address for _ in range(4)}

    assert addresses == {guarded}


@pytest.mark.triton
@pytest.mark.parametrize("key_first", [True, False])
def test_a_certificate_is_renewed_under_a_running_client(
    make_client: MakeClient,
    mutual: str,
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    key_first: bool,
) -> None:
    """Key and certificate are replaced one after the other, with calls in between."""
    ours, renewed = Authority(tmp_path / "ours"), authority.issue("caller", file="new")
    old = ours.issue("caller")  # of an authority that the server does not know
    order = (renewed.key, old.key), (renewed.certificate, old.certificate)
    first, second = order if key_first else order[::-1]
    tls = Tls(authority.ca, old.certificate, old.key, server_name=NAME)
    with make_client(mutual, tls=tls, retries=NO_RETRIES, timeout_s=30) as client:
        with pytest.raises(ServerUnavailable, match="closed the connection"):
            client.score(TEXT)

        _replace(*first)
        with caplog.at_level(logging.WARNING), pytest.raises(ServerUnavailable):
            client.score(TEXT)
        assert [each.name for each in caplog.records] == ["megatick_client.channels"]
        assert "tls: key: expected the private key of" in caplog.text

        _replace(*second)
        assert client.score(TEXT).score == SCORE


def _replace(source: Path, target: Path) -> None:
    """Put a new file in an old one's place, and wait until the client looks again."""
    shutil.copy(source, target.with_suffix(".part"))
    target.with_suffix(".part").rename(target)
    time.sleep(STAMP_EVERY_S)


def test_files_that_are_not_what_they_should_be(
    make_client: MakeClient, authority: Authority, caller: Pair, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.pem"
    damaged.write_text(
        "".join(
            f"-----BEGIN {each}-----\nbm9uc2Vuc2U=\n-----END {each}-----\n"
            for each in ("CERTIFICATE", "PRIVATE KEY")
        )
    )
    other = authority.issue("other", file="other").key

    for tls, said in (
        (
            Tls(damaged),
            f"tls: ca: expected certificates, found something else in {damaged}",
        ),
        (
            Tls(tmp_path / "none"),
            f"tls: ca: expected a PEM file, found {tmp_path}/none: No",
        ),
        (
            Tls(certificate=caller.certificate, key=other),
            f"tls: key: expected the private key of {caller.certificate}, found another's "
            f"in {other}",
        ),
        (
            Tls(certificate=caller.certificate, key=damaged),
            f"tls: key: expected the private key of {caller.certificate}, found something "
            f"else, or one with a password, in {damaged}",
        ),
    ):
        with pytest.raises(BadRequest) as caught:
            _make_and_close(make_client, tls)
        assert str(caught.value).startswith(said)


def _make_and_close(make_client: MakeClient, tls: Tls) -> None:
    with make_client("127.0.0.1:1", tls=tls):
        pytest.fail("its files are no good")


# --- keys and tokens ------------------------------------------------------------------


@pytest.mark.triton
def test_the_right_key(make_client: MakeClient, guarded: str, authority: Authority) -> None:
    tls = Tls(authority.ca)
    with make_client(guarded, tls=tls, headers={HEADER: SECRET}) as client:
        assert client.score(TEXT).score == SCORE
        assert client.models()[0].ready


@pytest.mark.triton
@pytest.mark.parametrize("headers", [None, {HEADER: "wrong-0123456789abcdef"}])
def test_a_wrong_key_or_none(
    make_client: MakeClient,
    guarded: str,
    authority: Authority,
    headers: dict[str, str] | None,
) -> None:
    error = refused(make_client, guarded, tls=Tls(authority.ca), headers=headers)

    assert type(error) is Unauthenticated
    assert str(error) == (
        f"{guarded}: the server lets in only callers with a credential (call to "
        "'sentiment', UNAVAILABLE: This protocol is restricted, expecting header "
        f"'{HEADER}').  Pass it in headers= (a command's --caller-key-file or "
        "--header-file): who runs the server has it."
    )


def test_a_bearer_token_reaches_the_server_and_is_asked_for_each_time(
    make_client: MakeClient,
) -> None:
    """In-process: Triton checks no token, a proxy in front of it would."""
    seen: list[str] = []

    class Listening(Endpoint):
        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
            seen.append(dict(context.invocation_metadata())["authorization"])
            return super().ModelInfer(request, context)

    tokens = iter(["Bearer one", "Bearer two"])
    with (
        serve(Listening()) as endpoint,
        make_client(
            endpoint.address, headers=lambda: {"authorization": next(tokens)}
        ) as client,
    ):
        client.score(TEXT)
        client.score(TEXT)

    assert seen == ["Bearer one", "Bearer two"]


class Refusing(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """A proxy that lets nobody in."""

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "token expired")


@pytest.fixture
def refusing() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Refusing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(grace=None).wait()


def test_no_secret_in_any_log_error_or_repr(
    make_client: MakeClient,
    refusing: str,
    caller: Pair,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[object] = []

    def tell(error: BaseException | None) -> None:
        while error is not None:
            told.extend((error, repr(error), vars(error)))
            error = error.__cause__ or error.__context__

    headers = {"authorization": f"Bearer {SECRET}"}
    tls = Tls(caller.certificate, caller.certificate, caller.key)
    for address, secure in ((refusing, None), (refusing, tls), ("127.0.0.1:1", None)):
        with make_client(address, headers=headers, tls=secure) as client:
            told.append(repr(client))
            with pytest.raises((Unauthenticated, ServerUnavailable)) as caught:
                client.score(TEXT)
            tell(caught.value)
    for bad in ({"authorization": f"{SECRET}\n"}, {"authorization": SECRET.encode()}):
        for given in (bad, lambda bad=bad: bad):
            with pytest.raises(BadRequest) as refusal:
                _call_with(make_client, refusing, given)
            tell(refusal.value)
    told.append(repr(tls))

    shown = "\n".join(map(str, [*told, caplog.text, *capfd.readouterr()]))
    assert "Bearer" not in shown
    assert SECRET not in shown
    assert caller.key.read_text().splitlines()[1] not in shown
    assert "token expired" in shown  # it looked where it should


def _call_with(make_client: MakeClient, address: str, headers: Any) -> None:
    with make_client(address, headers=headers) as client:
        client.score(TEXT)
