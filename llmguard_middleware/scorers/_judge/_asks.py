"""How a judge gets one reply: within its budget, in the best form that the model takes, with another try or two."""

from __future__ import annotations

from typing import Any

from ..._prices import usd_of
from ...errors import ScorerError
from ._budget import Budget
from ._model import JudgeModel, Question, Reply
from ._reading import Unread
from ._steps import Ask, Nap, Steps
from ._transient import refused, refuses_form, transient

__all__ = ["Asks"]

_MOMENT = 0.02  # seconds, until what is under way may have ended
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0  # seconds between tries


class Asks:
    """One judge's model, with what all its questions share."""

    def __init__(self, model: JudgeModel, budget: Budget | None, retries: int) -> None:
        self.model, self.budget, self.retries = model, budget, retries
        self._form = 0  # the first that was not refused so far

    def reply(self, system: str, prompt: str, schema: dict[str, Any]) -> Steps[Reply | Unread]:
        """Ask; `Unread` if the budget is spent.

        Raises:
            ScorerError: if the provider would not take the question.
            Exception: what the model raises, if it is not worth another try or that is of no use.
        """
        try:
            return (yield from self._tried(system, prompt, schema))
        except Exception as error:
            if not refused(error):
                raise
            msg = "the provider of the judge's model did not take the question"
            raise ScorerError(msg) from None  # what it said may quote the prompt

    def _tried(self, system: str, prompt: str, schema: dict[str, Any]) -> Steps[Reply | Unread]:
        from tenacity import (  # noqa: PLC0415 - a tenth of a second, which only judges need
            Retrying,
            retry_if_exception,
            stop_after_attempt,
            wait_exponential,
            wait_random,
        )

        naps: list[float] = []
        tries = Retrying(
            sleep=naps.append,
            retry=retry_if_exception(transient),
            stop=stop_after_attempt(self.retries + 1),
            wait=wait_exponential(_FIRST_WAIT, _LONGEST_WAIT) + wait_random(0, _FIRST_WAIT),  # not all at once
            reraise=True,
        )
        reply: Reply | Unread | None = None
        for attempt in tries:
            while naps:
                yield Nap(naps.pop())
            with attempt:
                reply = yield from self._in_some_form(system, prompt, schema)
        assert reply is not None
        return reply

    def _in_some_form(self, system: str, prompt: str, schema: dict[str, Any]) -> Steps[Reply | Unread]:
        forms = self.model.forms
        at = min(self._form, len(forms) - 1)
        while True:
            try:
                reply = yield from self._once(Question(system, prompt, schema, forms[at]))
            except Exception as error:  # noqa: PERF203 - the next form is for when this one is refused
                if at + 1 == len(forms) or not refuses_form(error):
                    raise
                at += 1
            else:
                self._form = max(self._form, at)
                return reply

    def _once(self, question: Question) -> Steps[Reply | Unread]:
        if (budget := self.budget) is None:
            reply: Reply = yield Ask(question)
            return reply
        while (said := budget.take()) == "wait":
            yield Nap(_MOMENT)
        if said != "taken":
            return Unread("budget", said)
        try:
            reply = yield Ask(question)
        except BaseException as error:
            budget.give_up(failed=isinstance(error, Exception))
            raise
        usage = reply.usage
        tokens = None
        if usage is not None and (usage.input_tokens is not None or usage.output_tokens is not None):
            tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0)
        budget.settle(tokens, self.usd(reply) if budget.usd is not None else None)
        return reply

    def usd(self, reply: Reply) -> float | None:
        """What the reply cost; None if nobody knows."""
        if reply.usd is not None:
            return reply.usd
        return usd_of(self.model.provider, (reply.model, self.model.name), reply.usage)
