"""The launcher: the wheel's ``tritonserver``, started closed and stopped clean."""

from megatick_server.launcher.endpoints import Endpoints
from megatick_server.launcher.keys import AccessKey
from megatick_server.launcher.options import (
    SAFE_CONTAINER,
    TRITON_RELEASE,
    Api,
    ServeOptions,
)
from megatick_server.launcher.repository import Repository, check_repository
from megatick_server.launcher.server import TritonServer
from megatick_server.launcher.tls import ServerTls

__all__ = [
    "SAFE_CONTAINER",
    "TRITON_RELEASE",
    "AccessKey",
    "Api",
    "Endpoints",
    "Repository",
    "ServeOptions",
    "ServerTls",
    "TritonServer",
    "check_repository",
]
