"""A text over which a stand-in model stands still until the test lets it go on."""

from __future__ import annotations

from pathlib import Path

from until import until


class Held:
    """Such a text, and what has become of it.

    Attributes:
        text: to be sent to ``sentiment``, ``market_view`` or ``embedding``.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.text = f"hold {folder}"
        self._begun, self._over = folder / "begun", folder / "over"

    @property
    def begun(self) -> bool:
        """Whether a model has read it."""
        return self._begun.exists()

    def wait(self) -> None:
        """Wait until a model stands still over it."""
        until(lambda: self.begun)

    def let_go(self) -> None:
        """Let the model answer, be it before or after it has begun."""
        self._over.touch()
