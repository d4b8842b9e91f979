"""Scores that somebody else's executor runs, in other processes, perhaps."""

from __future__ import annotations

import contextlib
from concurrent.futures import BrokenExecutor, CancelledError, Future
from pickle import PicklingError
from typing import Any

from .._bound import BoundScorer
from .._drive import inside_scorer
from .._scorer import target_of
from ._runs import Run

__all__ = ["ExecutorRun", "score_with"]


class ExecutorRun(Run):
    """Hands its jobs to the executor."""

    __slots__ = ("future",)

    future: Future[Any]

    def _go(self) -> None:
        inside_scorer.set(True)  # for good: this thread runs nothing else
        lane = self.lane
        assert lane.means.executor is not None
        try:
            arguments = self._arguments()
            if arguments is None:
                self._finish(None, None)
                return
            if not any(parameter == "call" for parameter, _, _ in lane.bound.parameters):
                arguments.pop("call", None)  # **kwargs does not ask for it, and it need not be picklable
            method = "score" if lane.monitor.batch is None else "score_batch"
            self.future = lane.means.executor.submit(score_with, lane.monitor.scorer, method, arguments)
        except BaseException as raised:  # noqa: BLE001 - foreign code, and this thread has nobody to tell
            self._refused(raised)
            return
        self._watch()
        self.future.add_done_callback(self._returned)

    def _returned(self, future: Future[Any]) -> None:
        del self.future  # the two would keep each other and the texts alive
        error = CancelledError() if future.cancelled() else future.exception()
        if error is None:
            self._finish(future.result(), None)
        elif isinstance(error, (BrokenExecutor, CancelledError)) or _is_about_pickling(error):
            self._refused(error)
        else:
            self._finish(None, error.with_traceback(None))

    def _refused(self, error: BaseException) -> None:
        if not self.claimed:
            self.quiet = True
            self.lane.warn_once("executor", f"is not scored: {_refusal(error)}; this is said once")
        self._finish(None, error.with_traceback(None))

    def _give_up(self) -> None:
        with contextlib.suppress(AttributeError):  # it came back this moment
            self.future.cancel()


def score_with(scorer: Any, method: str, arguments: dict[str, Any]) -> Any:
    """What an executor is given to run, in this process or in another one."""
    token = inside_scorer.set(True)
    try:
        return BoundScorer(scorer, target_of(scorer, method), "remote").run(arguments)
    finally:
        inside_scorer.reset(token)


def _is_about_pickling(error: BaseException) -> bool:
    # What cannot be pickled is told by one error or another, depending on what it is.
    return isinstance(error, PicklingError) or (
        isinstance(error, (TypeError, AttributeError)) and "pickle" in str(error)
    )


def _refusal(error: BaseException) -> str:
    kind = type(error).__name__
    if _is_about_pickling(error):
        return (
            f"what its executor is to run cannot be pickled ({kind}); use a function or a class at the top of a module "
            "and inputs that can be pickled"
        )
    return f"its executor refused it ({kind}); give the guard an executor that runs"
