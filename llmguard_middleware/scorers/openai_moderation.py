"""openai_moderation: OpenAI's moderation models, and whatever speaks their protocol."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, overload

from .._checks import expect_bool, expect_seconds
from .._score import Score
from ..errors import ConfigurationError, ScorerError, nearest
from ._vendors._failures import answer_is_none, refused, unreachable
from ._vendors._remote import Remote, extra
from ._vendors._settings import bounds, in_range, keywords, named, place, texts

__all__ = ["AsyncOpenAIModeration", "OpenAIModeration", "openai_moderation"]

# Of more than 32,768 tokens the service looks at the first ones only. A token is a byte or more.
_MOST_BYTES: Final = 32_000
_WHO: Final = "OpenAI's moderation"


class _Rules(NamedTuple):
    model: str
    threshold: float | None
    thresholds: Mapping[str, float]
    categories: tuple[str, ...]

    def told(self) -> str:
        """For people."""
        limits = {} if self.threshold is None else {"threshold": self.threshold}
        single = [f", {name} {limit!r}" for name, limit in (*limits.items(), *sorted(self.thresholds.items()))]
        return "".join([self.model, *single, *([f", only {' '.join(self.categories)}"] if self.categories else [])])


class _Result(NamedTuple):
    model: str
    scores: Mapping[str, float]
    flagged: frozenset[str]


class _Moderation(Remote):
    """What is the same sync and async."""

    who = _WHO

    def __init__(self, rules: _Rules, settings: Mapping[str, Any], client: Any, most: int) -> None:
        super().__init__("openai_moderation", f"{rules.told()}{place(settings.get('base_url'))}", client, most)
        self._rules, self._settings = rules, dict(settings)

    def _texts(self, text: str) -> list[str]:
        return [piece.text for piece in self.pieces(text, _MOST_BYTES, "utf-8")]

    def _request(self, text: str) -> dict[str, Any]:
        return {"model": self._rules.model, "input": text}

    def _read(self, raw: Any) -> _Result:
        try:
            answer = raw.http_response.json()
        except Exception as error:  # noqa: BLE001 - of whatever the answer is made
            raise answer_is_none(self.who, type(error).__name__) from None
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list) or len(results) != 1 or not isinstance(results[0], dict):
            raise answer_is_none(self.who, "it has no result for the text")
        categories, scores = results[0].get("categories"), results[0].get("category_scores")
        if not isinstance(categories, dict) or not isinstance(scores, dict):
            raise answer_is_none(self.who, "it has no categories")
        known = {name: score for name, score in scores.items() if score is not None}
        said = {name: flag for name, flag in categories.items() if flag is not None}
        if not known or not all(in_range(score, 0, 1) for score in known.values()):
            raise answer_is_none(self.who, "its scores are none from 0 to 1")
        if known.keys() != said.keys() or not all(isinstance(flag, bool) for flag in said.values()):
            raise answer_is_none(self.who, "it does not flag what it scores")
        if results[0].get("flagged") is True and not any(said.values()):
            raise answer_is_none(self.who, "it flags the text and no category")
        self._check(known)
        return _Result(str(answer.get("model") or self._rules.model), known, frozenset(n for n in said if said[n]))

    def _check(self, scores: Mapping[str, float]) -> None:
        """A threshold for what nobody scores would never flag anything."""
        for name in (*self._rules.thresholds, *self._rules.categories):
            if name not in scores:
                msg = f'the model scores no category "{name}": {nearest(name, scores)}'
                raise ScorerError(msg)

    def _joined(self, results: Sequence[_Result]) -> Score:
        if not results:
            return Score(value=0.0)
        rules = self._rules
        scores: dict[str, float] = {}
        for result in results:
            for name, score in result.scores.items():
                scores[name] = max(score, scores.get(name, 0.0))
        counted = {name: score for name, score in scores.items() if not rules.categories or name in rules.categories}
        said = {name for result in results for name in result.flagged}
        flagged = sorted(name for name in counted if self._flags(name, counted[name], said=name in said))
        worst = sorted(flagged, key=lambda name: -counted[name])
        return Score(
            value=max(counted.values()),
            flagged=bool(flagged),
            label=",".join(flagged),
            explanation=f"{self.who}: " + ", ".join(f"{one} {counted[one]:.2f}" for one in worst) if worst else "",
            metadata={"model": results[0].model, "scores": scores, "requests": len(results)},
        )

    def _flags(self, name: str, score: float, *, said: bool) -> bool:
        threshold = self._rules.thresholds.get(name, self._rules.threshold)
        return said if threshold is None else score >= threshold

    def _client_of(self, kind: str) -> Any:
        openai = extra("openai", "openai", self.name)
        try:
            return getattr(openai, kind)(**self._settings)
        except (openai.OpenAIError, TypeError, ValueError) as error:
            failed = type(error).__name__
        msg = f'{self.name}() cannot make a client ({failed}); give api_key="${{OPENAI_API_KEY}}", or set that variable'
        raise ConfigurationError(msg)

    def failure(self, error: Exception) -> ScorerError:
        """What the client's error says."""
        openai = extra("openai", "openai", self.name)
        if isinstance(error, openai.APIStatusError):
            return refused(self.who, error.status_code, error.code, "api_key, model and base_url")
        if isinstance(error, openai.APIConnectionError):
            return unreachable(self.who, error, late=isinstance(error, openai.APITimeoutError))
        return super().failure(error)


class OpenAIModeration(_Moderation):
    """Flags texts of a category that is over its threshold; value is the highest score, label the categories."""

    def score(self, text: str) -> Score:
        """Scores are from 0 to 1, as the model gives them.

        Raises:
            ScorerError: if it could not be asked.
        """
        return self._joined([self._asked(one) for one in self._texts(text)])

    def _asked(self, text: str) -> _Result:
        create = self.client.moderations.with_raw_response.create
        return self._read(self.ask(lambda: create(**self._request(text))))

    def connect(self) -> Any:
        """A client."""
        return self._client_of("OpenAI")


class AsyncOpenAIModeration(_Moderation):
    """As `OpenAIModeration`, on the event loop; each loop has a client of its own."""

    async def score(self, text: str) -> Score:
        """Scores are from 0 to 1, as the model gives them.

        Raises:
            ScorerError: if it could not be asked.
        """
        return self._joined([await self._asked(one) for one in self._texts(text)])

    async def _asked(self, text: str) -> _Result:
        create = self.client.moderations.with_raw_response.create
        failed = None
        for _ in range(2):  # as `ask` does
            try:
                raw = await create(**self._request(text))
            except Exception as error:  # noqa: BLE001 - whatever a client raises
                failed = self.failure(error)
            else:
                return self._read(raw)
            if not getattr(failed, "retryable", False):
                break
        assert failed is not None
        try:
            raise failed
        finally:
            del failed

    def setup(self) -> None:
        """See that there can be a client."""
        if self._given is None:
            self._client_of("AsyncOpenAI")

    @property
    def client(self) -> Any:
        """The client of this event loop."""
        if self._given is not None:
            return self._given
        loop = asyncio.get_running_loop()
        with self._lock:
            clients = self._own = self._own if self._own is not None else weakref.WeakKeyDictionary()
            if loop not in clients:  # connections belong to the loop that opened them
                clients[loop] = self._client_of("AsyncOpenAI")
            return clients[loop]

    def close(self) -> None:
        """Forget the clients of all loops; to close one in order, await `aclose()` on its loop."""
        self.begin_anew()

    async def aclose(self) -> None:
        """Close the client of this loop; the next score makes another."""
        with self._lock:
            own = None if self._own is None else self._own.pop(asyncio.get_running_loop(), None)
        if own is not None:
            await own.close()


@overload
def openai_moderation(
    model: str = ...,
    *,
    threshold: float | None = ...,
    thresholds: Mapping[str, float] | None = ...,
    categories: Sequence[str] = ...,
    use_async: Literal[False] = ...,
    api_key: str | None = ...,
    base_url: str | None = ...,
    timeout: float = ...,
    max_requests: int = ...,
    openai_kwargs: Mapping[str, Any] | None = ...,
    client: Any = ...,
) -> OpenAIModeration: ...
@overload
def openai_moderation(
    model: str = ...,
    *,
    threshold: float | None = ...,
    thresholds: Mapping[str, float] | None = ...,
    categories: Sequence[str] = ...,
    use_async: Literal[True],
    api_key: str | None = ...,
    base_url: str | None = ...,
    timeout: float = ...,
    max_requests: int = ...,
    openai_kwargs: Mapping[str, Any] | None = ...,
    client: Any = ...,
) -> AsyncOpenAIModeration: ...
def openai_moderation(
    model: str = "omni-moderation-latest",
    *,
    threshold: float | None = None,
    thresholds: Mapping[str, float] | None = None,
    categories: Sequence[str] = (),
    use_async: bool = False,
    api_key: str | None = None,
    base_url: str | None = None,
    timeout: float = 4.0,
    max_requests: int = 20,
    openai_kwargs: Mapping[str, Any] | None = None,
    client: Any = None,
) -> OpenAIModeration | AsyncOpenAIModeration:
    """Have texts judged by OpenAI's moderation (extra `[openai]`). The texts go to OpenAI, which charges nothing.

    Args:
        model: a moderation model.
        threshold: flag a category whose score is this or more, from 0 to 1; where it is None, what the model flags.
        thresholds: the same for one category each, such as `{"violence": 0.8, "self-harm/intent": 0.2}`.
        categories: only these count; all if none is named.
        use_async: make an async scorer, which takes no thread; for applications that are async themselves.
        api_key: OPENAI_API_KEY if it is not given.
        base_url: of another service that speaks the protocol.
        timeout: seconds for a connection and for an answer.
        max_requests: how many a long text may take; a longer one cannot be scored.
        openai_kwargs: what else `openai.OpenAI` takes: organization, project, default_headers, ...
        client: an `openai.OpenAI` (with use_async, an `AsyncOpenAI`) to use in place of one that is made.

    Raises:
        ConfigurationError: for a setting of the wrong kind.
    """
    named(model, "the name of a model", "openai_moderation", 'openai_moderation("omni-moderation-latest")')
    if threshold is not None and not in_range(threshold, 0, 1):
        msg = f"threshold of openai_moderation() is {threshold!r}; give a number from 0 to 1"
        raise ConfigurationError(msg)
    rules = _Rules(
        model,
        None if threshold is None else float(threshold),
        bounds(thresholds, "thresholds of openai_moderation()", 0, 1),
        texts(categories, "categories of openai_moderation()"),
    )
    expect_bool(use_async, "use_async of openai_moderation()")
    expect_seconds(timeout, "timeout of openai_moderation()")
    settings = {
        "api_key": api_key,
        "base_url": base_url,
        "timeout": timeout,
        "max_retries": 0,
        **keywords(openai_kwargs, "openai_kwargs"),
    }
    return (AsyncOpenAIModeration if use_async else OpenAIModeration)(rules, settings, client, max_requests)
