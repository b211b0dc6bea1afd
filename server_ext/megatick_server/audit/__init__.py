"""The audit log: every reply of a step, in files whose lines hang together.

Each step's process writes a chain of its own: ``record`` is one line, ``chain`` the files,
``writer`` the thread that writes them, ``log`` what a step is given, ``verify`` the check.
"""

from megatick_server.audit.record import AuditKey
from megatick_server.audit.settings import AuditSettings, OnFailure
from megatick_server.audit.verify import (
    ChainReport,
    Finding,
    chains_of,
    read_records,
    verify_folder,
)
from megatick_server.errors import AuditError

__all__ = [
    "AuditError",
    "AuditKey",
    "AuditSettings",
    "ChainReport",
    "Finding",
    "OnFailure",
    "chains_of",
    "read_records",
    "verify_folder",
]
