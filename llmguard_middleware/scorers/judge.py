"""judge: a language model that says how good an answer is, and why."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, Signature
from typing import Any, Final

from .._checks import expect_count, expect_text, is_number
from .._fingerprint import fingerprint
from .._score import Score
from .._scorer import Scorer
from ..errors import ConfigurationError, nearest
from ._judge._asks import Asks
from ._judge._budget import Budget, budget_of
from ._judge._form import expect_language, schema_of, system_of
from ._judge._models import model_of
from ._judge._prompts import READY, Ready
from ._judge._reading import Reading, Unread, read
from ._judge._scale import Scale, scale_of
from ._judge._steps import Steps, arun, run
from ._judge._template import Template

__all__ = ["Judge", "judge"]

_HALF: Final = 0.5


class Judge(Scorer):
    """Scores with a model; `score` takes what the prompt names, and is async if the model is an async function."""

    def __init__(
        self,
        asks: Asks,
        prompt: str,
        scale: Scale,
        *,
        system: str,
        below: float | None,
        above: float | None,
        name: str,
        column_map: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name=name, column_map=column_map)
        self._asks, self._scale, self._system = asks, scale, system
        self._template, self._schema = Template(prompt), schema_of(scale)
        self.below, self.above = below, above
        model = asks.model
        self.options = fingerprint(prompt, scale, system, below, above, model.provider, model.name)
        takes = Signature([Parameter(name, Parameter.KEYWORD_ONLY) for name in self._template.names])
        self.score = _AsyncScore(self, takes) if model.is_async else _Score(self, takes)

    @property
    def budget(self) -> Budget | None:
        """What it may cost, and what it has spent of that; None if there is no cap."""
        return self._asks.budget

    async def ascore(self, **given: Any) -> Score:
        """As `score`, on the event loop, whatever the model."""
        return await arun(self.steps(given), self._asks.model, self.name)

    def steps(self, given: Mapping[str, Any]) -> Steps[Score]:
        """Score what is given, without any I/O: that is left to whoever runs the steps.

        Raises:
            Exception: what the model raises in the end.
        """
        if "context" in self._template.names and not given["context"]:
            return _unscored(Unread("no_context", "there are no documents to judge by"))
        try:
            prompt, material = self._template.fill(given)
        except LookupError:
            return _unscored(Unread("no_input", "the prompt names a part of an input that this call does not have"))
        reply = yield from self._asks.reply(self._system, prompt, self._schema)
        if isinstance(reply, Unread):
            return _unscored(reply)
        if reply.refused:
            return _unscored(Unread("refused", "the provider refused to answer"))
        reading = read(reply.said, self._scale, material)
        about = {"model": reply.model or self._asks.model.name}
        return _unscored(reading, **about) if isinstance(reading, Unread) else self._scored(reading, **about)

    def _scored(self, reading: Reading, **about: Any) -> Score:
        value = reading.place.value
        flagged = (self.below is not None and value < self.below) or (self.above is not None and value > self.above)
        if reading.mended:
            about["mended"] = True
        return Score(
            value=value,
            flagged=flagged,
            label=reading.place.label,
            explanation=reading.reasoning,
            metadata={"answer": reading.answer, **about},
        )


def _unscored(why: Unread, **about: Any) -> Score:
    return Score(unscored=True, explanation=f"not scored: {why.sentence}", metadata={"reason": why.reason, **about})


class _Score:
    """The `score` of one judge, whose parameters are what its prompt names."""

    def __init__(self, judge: Judge, takes: Signature) -> None:
        self._judge, self.__signature__ = judge, takes

    def __call__(self, **given: Any) -> Score:
        judge = self._judge
        return run(judge.steps(_bound(self.__signature__, given)), judge._asks.model, judge.name)  # noqa: SLF001 - its own


class _AsyncScore(_Score):
    """The same, async."""

    async def __call__(self, **given: Any) -> Score:  # type: ignore[override]  # so that it is known to be async
        return await self._judge.ascore(**_bound(self.__signature__, given))


def _bound(takes: Signature, given: Mapping[str, Any]) -> Mapping[str, Any]:
    takes.bind(**given)  # a TypeError, as of any function
    return given


def judge(
    prompt: str,
    *,
    model: Any,
    scale: Any = None,
    below: float | None = None,
    above: float | None = None,
    language: str = "en",
    system: str | None = None,
    budget: Budget | Mapping[str, Any] | None = None,
    retries: int = 2,
    name: str | None = None,
    column_map: Mapping[str, str] | None = None,
) -> Judge:
    """Have a model judge: `judge("Is {output} a truthful answer to {question}?", model=llm)`.

    The value is from 0 to 1, its explanation is the model's reasoning. A reply that does not say unmistakably what the
    score is gives none: the score is then `unscored`, with the reason.

    Args:
        prompt: a question about a call. `{output}`, `{question}`, `{context}`, `{inputs}`, `{messages}`, `{text}` and
            each of the call's inputs by its name stand for what the call has, `{inputs.name}`, `{messages.user}` and
            `{messages[-1]}` for parts of it, `{{` for a brace. Or the name of a ready prompt, "truthfulness" for
            example (see `judges`).
        model: a chat model of LangChain, an LLM of LlamaIndex, the name of a model for LiteLLM, "package.module:name",
            or a function, sync or async, from a prompt to a reply. One whose first parameter is called `messages` is
            given OpenAI's messages.
        scale: what the model answers with: the least and the greatest number, (0, 1) by default, from which the value
            is reckoned, or labels with their values, `{"yes": 1, "no": 0}`.
        below: flagged if the value is below this; 0.5 if neither this nor `above` is given.
        above: flagged if the value is above this.
        language: "en" or "ko", of what the model is told besides and of ready prompts.
        system: who the judge is, in place of our own words; how to answer is always added.
        budget: what it may cost: a `Budget`, which judges may share, or its caps, `{"calls": 1000, "usd": 5.0}`.
        retries: how often to try again after a failure that passes (limits, overload, lost connections).
        name: of the scorer; "judge" or that of the ready prompt by default.
        column_map: other names of what the prompt asks for, `{"output": "answer"}`.

    Raises:
        ConfigurationError: saying what to write instead.
    """
    ready = _ready(prompt)
    language = expect_language(language)
    given = scale_of(scale if scale is not None else ready.scale if ready is not None else (0, 1))
    if below is None and above is None:
        below, above = (ready.below, ready.above) if ready is not None else (_HALF, None)
    _expect_bounds(below, above)
    if system is not None:
        expect_text(system, "system of a judge")
    expect_count(retries, "retries of a judge", 0)
    return Judge(
        Asks(model_of(model), budget_of(budget), retries),
        prompt if ready is None else ready.prompts[language],
        given,
        system=system_of(given, language, system),
        below=below,
        above=above,
        name=name or ("judge" if ready is None else ready.name),
        column_map=column_map,
    )


def _ready(prompt: object) -> Ready | None:
    if not isinstance(prompt, str) or "{" in prompt or " " in prompt.strip() or not prompt.strip():
        return None
    if prompt not in READY:
        msg = f'"{prompt}" is no ready prompt, and names nothing of the call in braces: {nearest(prompt, READY)}'
        raise ConfigurationError(msg)
    return READY[prompt]


def _expect_bounds(below: Any, above: Any) -> None:
    for name, bound in (("below", below), ("above", above)):
        if bound is not None and not is_number(bound):
            msg = f"{name} of a judge is {bound!r}; give a value, for example {name}=0.5"
            raise ConfigurationError(msg)
