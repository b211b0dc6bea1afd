"""How the commands that call a server reach a protected one: TLS, a key, headers."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from megatick_server.errors import OptionsError
from megatick_server.launcher.keys import CALLER_KEY, GRPC_PREFIX, AccessKey

if TYPE_CHECKING:
    from megatick_client import Client, Tls

_PANEL: Final = "How a protected server is reached"


@dataclass(frozen=True)
class Connection:
    """What a client is given beside its addresses.

    Attributes:
        tls: how servers are trusted; None talks in the clear.
        headers: sent with every call; may hold a secret.
    """

    tls: Tls | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        """Whether the user gave any of its options."""
        return self.tls is not None or bool(self.headers)


@contextlib.contextmanager
def client_of(
    address: str | None,
    repository: Path | None,
    connection: Connection,
    *,
    timeout_s: float,
) -> Iterator[Client]:
    """Give a client of a running server, or of one that runs as long as it is needed.

    Args:
        address: of the running server; not looked at where there is a repository.
        repository: to serve on a free port of loopback.
        connection: how the server is reached.
        timeout_s: of each call.
    """
    from megatick_client import Client
    from megatick_server.launcher import ServeOptions, TritonServer

    with contextlib.ExitStack() as stack:
        if repository is not None:
            options = ServeOptions(grpc_port=0, metrics_port=None)
            server = stack.enter_context(TritonServer(repository, options))
            address = server.endpoints.grpc
        client = Client(
            address or "",
            timeout_s=timeout_s,
            tls=connection.tls,
            headers=connection.headers,
        )
        yield stack.enter_context(client)


def with_connection(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of this module, as its argument ``connection``.

    Typer reads options from a signature, so the command's shows these in the place of
    that argument.
    """
    own = inspect.signature(command, eval_str=True)
    shared = inspect.signature(_connection, eval_str=True).parameters

    @functools.wraps(command)
    def run(**given: Any) -> None:
        options = {name: given.pop(name) for name in shared}
        command(**given, connection=_connection(**options))

    kept = [each for each in own.parameters.values() if each.name != "connection"]
    signature = own.replace(parameters=[*kept, *shared.values()])
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {
        name: each.annotation for name, each in signature.parameters.items()
    }
    return run


def _connection(
    tls: Annotated[
        bool,
        typer.Option(
            "--tls",
            help="Speak TLS, and trust the authorities that gRPC brings; each "
            "--tls-… below speaks TLS too.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="PEM",
            help="Trust servers whose certificate one of these authorities signed.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    tls_certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="PEM",
            help="Our own certificate, with --tls-key: for `megatick serve "
            "--tls-client-ca`.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(
            metavar="PEM",
            help="Its private key, without a password.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    tls_server_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The name in the server's certificate, where it is not the address's.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    caller_key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Holds the key that `megatick serve --caller-key-file` wants.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    header_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Lines NAME: VALUE, sent with every call: a token for a proxy in front "
            "of the server.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
) -> Connection:
    """Read the files, so that a bad one is bad usage and nothing begins.

    Raises:
        typer.BadParameter: one of them is absent, or not what it should be.
    """
    files = (tls_ca, tls_certificate, tls_key, tls_server_name)
    headers = {} if header_file is None else _read_headers(header_file)
    if caller_key_file is not None:
        try:
            key = AccessKey.read(caller_key_file, option="caller key")
        except OptionsError as error:
            raise typer.BadParameter(str(error)) from error
        headers[GRPC_PREFIX + CALLER_KEY] = key.value
    if not tls and all(each is None for each in files):
        return Connection(headers=headers)
    from megatick_client import BadRequest, Tls

    try:
        given = Tls(*files)
        given.credentials()
    except BadRequest as error:
        raise typer.BadParameter(str(error)) from error
    return Connection(given, headers)


def _read_headers(file: Path) -> dict[str, str]:
    """Read names and values; no message shows a line, which may be a secret."""
    from megatick_client import BadRequest
    from megatick_client.base import metadata_of

    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or "something else"
        raise typer.BadParameter(
            f"headers: expected a UTF-8 file, found {file}: {found}"
        ) from None
    headers: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if line.strip() and not (name and colon):
            raise typer.BadParameter(
                f"headers: {file}, line {number}: expected NAME: VALUE, found something "
                "else"
            )
        if name:
            headers[name.lower()] = value  # gRPC knows no upper case
    try:
        return dict(metadata_of(headers)())
    except BadRequest as error:
        raise typer.BadParameter(str(error)) from error
