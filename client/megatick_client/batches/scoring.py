"""Texts to answers, whatever becomes of the server, and whatever a text does to it.

A row that the server refuses is taken out, and the rest is sent again.  A row on which the
server fails is found by halving.  A server that gives no answer is waited for.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from megatick_client.attempts import infer
from megatick_client.batches.answers import Answers
from megatick_client.batches.errors import ScoringCancelled, ServersSilent
from megatick_client.batches.one_model import OneModel
from megatick_client.batches.settings import BatchSettings
from megatick_client.errors import (
    BadRequest,
    ClientError,
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
    ServerError,
    ServerUnavailable,
)
from megatick_client.requests import Reply
from megatick_client.sentiments import SENTIMENT_OUTPUTS, sentiment_request
from megatick_client.surface import Blocking, Call
from megatick_client.texts import read_texts
from megatick_contract.models import MODEL_DIGEST, ROWS_PER_REQUEST
from megatick_contract.text import PROBABILITIES, SCORE, TOKENS, TRUNCATED

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
_LOOK_S: Final = 0.25  # how often a wait looks whether it was cancelled

_PASSING: Final = (ServerUnavailable, Overloaded, DeadlineExceeded, ModelNotReady)
_HARMLESS: Final = "The company left its outlook for the year as it was."


@dataclass(eq=False)
class Scorer:
    """Scores texts by a client's calls.  Safe to share between threads.

    Attributes:
        client: makes the calls.
        settings: of the batch.
        model: that every answer must come from.
        cancelled: asked while a server is waited for.
        stop: set it, and whoever waits for a server stops waiting.
    """

    client: Blocking
    settings: BatchSettings
    model: OneModel
    cancelled: Callable[[], bool] = lambda: False
    stop: threading.Event = field(default_factory=threading.Event)
    _answered_s: float = field(default_factory=time.monotonic)

    def __call__(self, texts: Sequence[Any]) -> Answers:
        """Score at most ``ROWS_PER_REQUEST`` texts.

        Raises:
            ScoringError: the batch must stop.
            ClientError: nothing can be scored so, whatever the text.
        """
        assert len(texts) <= ROWS_PER_REQUEST  # noqa: S101
        answers = Answers.blank(len(texts))
        self._fill(answers, list(range(len(texts))), texts)
        return answers

    def _fill(self, answers: Answers, places: list[int], texts: Sequence[Any]) -> None:
        begun_s = time.monotonic()
        suspected = False  # the server failed on it, and not on a harmless text
        while places:
            try:
                reply = self._ask([texts[place] for place in places])
            except BadRequest as error:
                if not error.rejections:
                    raise
                for bad in error.rejections:
                    answers.problems.setdefault(places[bad.row], bad.problem)
                places = [
                    place for row, place in enumerate(places) if row not in error.rows
                ]
            except ServerError as error:
                half = len(places) // 2
                if half:
                    self._fill(answers, places[:half], texts)
                    places = places[half:]
                elif not self._answers_at_all():
                    self._wait(error, FIRST_WAIT_S, begun_s)
                elif suspected:
                    answers.problems[places[0]] = f"the server failed on it: {error.detail}"
                    return
                else:  # it may have failed in passing: the text is sent once more
                    suspected = True
            else:
                found = Answers(
                    reply[PROBABILITIES],
                    reply[SCORE][:, 0],
                    reply[TOKENS][:, 0],
                    reply[TRUNCATED][:, 0],
                )
                answers.put(places, found)
                return

    def _ask(self, texts: Sequence[Any]) -> Reply:
        """Send one request until a server answers it."""
        request = sentiment_request(read_texts(texts), self.settings.truncation)
        request = request.in_lane(self.settings.priority)
        request = replace(request, outputs=(*SENTIMENT_OUTPUTS, MODEL_DIGEST))
        call = Call(
            lambda line, deadline: infer(line, request, deadline), self.settings.timeout_s
        )
        begun_s = time.monotonic()
        wait_s = FIRST_WAIT_S
        while True:
            try:
                reply = self.client.make(call)
            except _PASSING as error:
                self._wait(error, wait_s, begun_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            else:
                self._answered_s = time.monotonic()
                digests = {each.decode() for each in reply[MODEL_DIGEST][:, 0]}
                self.model.check(digests, address=reply.about[0].address)
                return reply

    def _answers_at_all(self) -> bool:
        """Whether the server scores a harmless text: then the fault is the other text's."""
        try:
            self._ask([_HARMLESS])
        except ServerError:
            return False
        return True

    def _wait(self, error: ClientError, seconds: float, begun_s: float) -> None:
        """Wait before the next sending of what was first sent at ``begun_s``.

        Raises:
            ServersSilent: for too long nothing was answered.
            ScoringCancelled: see ``stop``.
        """
        silent_s = time.monotonic() - max(self._answered_s, begun_s)
        left_s = self.settings.patience_s - silent_s
        if left_s <= 0:
            raise ServersSilent(
                f"no server answered for {silent_s:.0f} s; the last error was: {error}"
            ) from error
        seconds = min(seconds * random.uniform(0.5, 1.0), left_s)  # noqa: S311  no secret
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            if self.stop.wait(min(left_s, _LOOK_S)) or self.cancelled():
                raise ScoringCancelled("it was told to stop.")
