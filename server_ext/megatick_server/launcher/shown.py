"""What Triton is shown of a repository, and what it makes of another one."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Final

from megatick_server.errors import LaunchError, ModelLoadError, ReadyTimeoutError
from megatick_server.launcher import diagnosis
from megatick_server.launcher.private import MODELS, show_models
from megatick_server.launcher.repository import Repository
from megatick_server.launcher.snapshot import Snapshot

_POLL_S: Final = 0.05
_UNDO_S: Final = 5.0
"""What loading again what was served may take, where the time for both is up."""


class Shown:
    """The models that one server's link leads to.

    One change at a time, whichever thread asks: what became of it is read from a log in
    which two could not be told apart.

    Attributes:
        repository: whose they are; while another one is loaded, that one.
    """

    def __init__(self, repository: Repository, directory: Path, *, held: bool) -> None:
        """Let the link lead there.

        Args:
            repository: what is to be served.
            directory: the server's private one.
            held: show a snapshot, which ``change`` and ``again`` need; else the folders
                themselves, for callers who load what changes in them.

        Raises:
            RepositoryError: something in it cannot be read.
            InstallationError: the private directory takes no link.
        """
        self.repository = repository
        self._directory = directory
        self._snapshots: list[Snapshot] = []  # the last one is what is served
        self._linked: Snapshot | None = None
        self._heard: list[str] | None = None
        self._changing = threading.RLock()  # a signal's handler may close it
        try:
            if held:
                self._link(self._take(repository))
            else:
                show_models(directory, repository.path)
        except LaunchError:
            self.close()
            raise

    def as_named(self, text: str) -> str:
        """Put the repository where Triton names the link to it."""
        return text.replace(str(self._directory / MODELS), str(self.repository.path))

    def hear(self, line: str) -> None:
        """Take a line of Triton's log; from any thread."""
        if self._heard is not None:
            self._heard.append(line)

    def change(
        self, repository: Repository, look: Callable[[], None], *, timeout_s: float
    ) -> None:
        """Show another repository, and wait until Triton has loaded it.

        Args:
            repository: to be served.
            look: called in between; what it raises ends the wait.
            timeout_s: how long loading may take, in seconds.  What was served before is
                loaded again within what is left of it, or within 5 s.

        Raises:
            RepositoryError: something in it cannot be read; nothing was tried.
            InstallationError: the private directory takes no link.
            ModelLoadError: a model did not load.
            ReadyTimeoutError: the time passed.  Of these, what was served before is
                shown again, and served on.  What took too long, Triton still loads to its
                end; it answers then until Triton looks again, a second later.
        """
        with self._changing:
            before, after = self._served(), self._take(repository)
            self._renew(after)
            wanted, unwanted = {*repository.models}, {*before.repository.models}
            deadline = time.monotonic() + timeout_s
            try:
                self._show(after, wanted, unwanted - wanted, look, timeout_s)
            except LaunchError:
                # Triton would try again and again what failed, and keeps what did not.
                with contextlib.suppress(LaunchError, OSError):
                    self._renew(before)
                    # What failed to load is never unloaded: there is nothing to wait for.
                    left_s = max(deadline - time.monotonic(), _UNDO_S)
                    self._show(before, unwanted, (), look, left_s)
                self.repository = before.repository
                self._forget_all_but(before)
                raise
            self._forget_all_but(after)

    def again(self, model: str, look: Callable[[], None], *, timeout_s: float) -> None:
        """Have Triton load one model again, as it is shown; nothing if it is no more.

        Raises:
            ModelLoadError: it did not load.
            ReadyTimeoutError: the time passed.
        """
        with self._changing:
            shown = self._served()
            if model in shown.repository.models:
                self._renew(shown, model)
                self._show(shown, {model}, (), look, timeout_s)

    def close(self) -> None:
        """Let go of all files, once a change that is under way has ended."""
        with self._changing:
            while self._snapshots:
                self._snapshots.pop().close()

    def _served(self) -> Snapshot:
        if not self._snapshots:  # it was stopped while another change was waited for
            raise LaunchError("nothing was loaded: the server was stopped")
        return self._snapshots[-1]

    def _take(self, repository: Repository) -> Snapshot:
        snapshot = Snapshot(repository, self._directory / secrets.token_hex(4))
        self._snapshots.append(snapshot)
        return snapshot

    def _renew(self, snapshot: Snapshot, model: str = "") -> None:
        """Let it be younger than whatever Triton was shown."""
        shown_ns = max(each.youngest_ns for each in self._snapshots)
        snapshot.renew(model, than_ns=shown_ns)

    def _link(self, snapshot: Snapshot) -> None:
        show_models(self._directory, snapshot.folder)
        self._linked = snapshot

    def _forget_all_but(self, served: Snapshot) -> None:
        # The link leads to another one where it could not be led back, and Triton would
        # unload at once what it does not find there.
        kept = [each for each in self._snapshots if each in (served, self._linked)]
        for each in self._snapshots:
            if each not in kept:
                each.close()
        self._snapshots = sorted(kept, key=lambda each: each is served)

    def _show(
        self,
        snapshot: Snapshot,
        wanted: Collection[str],
        unwanted: Collection[str],
        look: Callable[[], None],
        timeout_s: float,
    ) -> None:
        """Show a snapshot until some models were loaded, and others unloaded."""
        self.repository = snapshot.repository
        heard: list[str] = []
        self._heard = heard
        deadline = time.monotonic() + timeout_s
        try:
            self._link(snapshot)
            while True:
                said = tuple(diagnosis.of_loads_begun(tuple(heard)))
                gone = diagnosis.unloaded(said)
                loading = diagnosis.still_loading(said)
                failures = diagnosis.model_failures(said)
                # Before success: an ensemble whose config cannot be read is loaded all the
                # same, as it was, because a model of it is another one (tried).
                if failures and {each.model for each in failures}.issuperset(loading):
                    named = [replace(f, reason=self.as_named(f.reason)) for f in failures]
                    raise ModelLoadError(self.repository.path, named)
                if diagnosis.loaded(said).issuperset(wanted) and gone.issuperset(unwanted):
                    return
                look()
                if time.monotonic() > deadline:
                    raise ReadyTimeoutError(timeout_s=timeout_s, loading=loading)
                time.sleep(_POLL_S)
        finally:
            self._heard = None
