"""Remote: a scorer that asks a vendor's service, by one client per process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import islice
from pickle import PicklingError
from typing import Any, ClassVar, TypeVar

from ..._checks import expect_count
from ..._forks import renewed_in_children
from ..._scorer import Scorer
from ...errors import ConfigurationError, ScorerError, ScorerServiceError
from ._pieces import Piece, Unit, pieces, sendable

__all__ = ["Remote", "extra"]

T = TypeVar("T")


def extra(module: str, name: str, scorer: str) -> Any:
    """The module of an extra.

    Raises:
        ConfigurationError: if the extra is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        msg = f'{scorer}() needs an extra: pip install "llmguard-middleware[{name}]"'
        raise ConfigurationError(msg) from error


class Remote(Scorer):
    """Base of the scorers that ask a service; `client` is what they ask it by.

    The client is made by the first score (or `setup()`), once per process: a forked child and a process that unpickles
    the scorer make their own. One that was given is used as it is.
    """

    who: ClassVar[str]
    _own: Any

    def __init__(self, name: str, options: str, client: Any, most: int) -> None:
        super().__init__(name=name)
        expect_count(most, f"max_requests of {name}()", 1)
        self.options = f"{options}, {most} requests"
        self._given, self._most = client, most
        self.begin_anew()
        renewed_in_children(self)

    def setup(self) -> None:
        """Make the client, so that the first score is as fast as the rest.

        Raises:
            ConfigurationError: if the client's library is not there, or it cannot be made.
        """
        _ = self.client

    @property
    def client(self) -> Any:
        """The client of this process."""
        if self._given is not None:
            return self._given
        with self._lock:
            if self._own is None:
                self._own = self.connect()
            return self._own

    def connect(self) -> Any:
        """A new client; it opens no connection yet.

        Raises:
            ConfigurationError: if it cannot be made.
        """
        raise NotImplementedError

    def failure(self, error: Exception) -> ScorerError:
        """What an error of the client says, without what it quotes."""
        return ScorerServiceError(f"{self.who} could not be asked: {type(error).__name__}")

    def pieces(self, text: str, most: int, unit: Unit = "characters") -> Sequence[Piece]:
        """The pieces of a text that are asked about, none if there is nothing in it.

        Raises:
            ScorerError: if they are more than the scorer may ask about.
        """
        if not text.strip():  # which services refuse
            return ()
        found = list(islice(pieces(sendable(text), most, unit), self._most + 1))
        if len(found) > self._most:
            msg = f"the text takes more than {self._most} requests to {self.who}; let {self.name}() have max_requests="
            raise ScorerError(msg)
        return found

    def ask(self, request: Callable[[], T]) -> T:
        """What the request gives; it is made once more if the connection broke or the server failed.

        Raises:
            ScorerError: with a sentence of our own. The client's error, which may quote the text, is not its cause.
        """
        failed = None
        for _ in range(2):
            try:
                return request()
            except ScorerError as error:  # the request itself knows what it was
                failed = error
            except Exception as error:  # noqa: BLE001 - whatever a client raises
                failed = self.failure(error)
            if not getattr(failed, "retryable", False):
                break
        assert failed is not None
        try:
            raise failed
        finally:
            del failed  # it holds this frame, and the two would keep each other and the text alive

    def close(self) -> None:
        """Close the client that was made; the next score makes another."""
        with self._lock:
            own, self._own = self._own, None
        if own is not None:
            own.close()

    def begin_anew(self) -> None:
        """After a fork: the parent's connections stay with the parent."""
        self._lock = threading.Lock()
        self._own = None

    def __getstate__(self) -> dict[str, Any]:
        if self._given is not None:
            msg = f"{self.name}() with client= cannot be pickled: give what a client is made of, so each process can"
            raise PicklingError(msg)
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_own")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.begin_anew()
        renewed_in_children(self)
