"""A violation is an answer, not a failure: no fallback and no retry goes round it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import Runnable, RunnableBinding, RunnableSequence

from llmguard_middleware import GuardrailViolation

from ._late import begin_as_made

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableWithFallbacks

__all__ = ["STICKY", "sticky", "sticky_methods", "with_fallbacks", "with_retry"]


def with_fallbacks(
    self: Runnable[Any, Any],
    fallbacks: Sequence[Runnable[Any, Any]],
    *,
    exceptions_to_handle: tuple[type[BaseException], ...] = (Exception,),
    exception_key: str | None = None,
) -> RunnableWithFallbacks[Any, Any]:
    """As LangChain's, but a violation is raised, unless `exceptions_to_handle` names GuardrailViolation."""
    from ._fallbacks import Forgiven, GuardedFallbacks, MeantFallbacks

    meant = _meant(exceptions_to_handle)
    kind = MeantFallbacks if meant else GuardedFallbacks
    made: RunnableWithFallbacks[Any, Any] = kind(
        runnable=Forgiven(bound=self) if meant else self,
        fallbacks=list(fallbacks),
        exceptions_to_handle=exceptions_to_handle,
        exception_key=exception_key,
    )
    return made


def with_retry(
    self: Runnable[Any, Any],
    *,
    retry_if_exception_type: tuple[type[BaseException], ...] | Callable[[BaseException], bool] = (Exception,),
    **options: Any,
) -> Runnable[Any, Any]:
    """As LangChain's, but a violation is raised, unless `retry_if_exception_type` names GuardrailViolation."""
    from ._fallbacks import Forgiven, GuardedRetry

    meant = not callable(retry_if_exception_type) and _meant(retry_if_exception_type)
    inside: Any = Forgiven(bound=self) if meant else self
    made: Any = Runnable.with_retry(inside, retry_if_exception_type=_retried(retry_if_exception_type), **options)
    return GuardedRetry(**{name: getattr(made, name) for name in made.model_fields_set})


def _meant(types: Sequence[type[BaseException]]) -> bool:
    """Whether violations are listed on purpose, and not by "all exceptions"."""
    return any(issubclass(GuardrailViolation, one) and one not in (Exception, BaseException) for one in types)


class _NoViolation(type):
    """Of a class that stands for others in isinstance(), by which retries are decided: for all but violations."""

    types: tuple[type[BaseException], ...] = ()

    def __instancecheck__(cls, error: object) -> bool:
        return isinstance(error, cls.types) and not isinstance(error, GuardrailViolation)


def _retried(given: Any) -> Any:
    if callable(given):
        return lambda error: not isinstance(error, GuardrailViolation) and given(error)
    if _meant(given):
        return given
    made = _NoViolation("AnyButViolations", (Exception,), {})
    made.types = tuple(given)
    return (made,)


STICKY: Mapping[str, Callable[..., Any]] = {"with_fallbacks": with_fallbacks, "with_retry": with_retry}

_IS = "__llmguard_sticky__"

# What these make of a copy is the copy with options: it fails as the copy does.
_MAKERS = (
    "bind",
    "bind_tools",
    "with_config",
    "with_types",
    "with_listeners",
    "with_alisteners",
    "with_structured_output",
)


def sticky_methods(base: type) -> dict[str, Callable[..., Any]]:
    """The members of a guarded copy's class by which a violation passes fallbacks and retries."""
    return {**STICKY, **{name: _maker(base, name) for name in _MAKERS if hasattr(base, name)}}


def _maker(base: type, name: str) -> Callable[..., Any]:
    @wraps(getattr(base, name))  # LangChain reads its signature
    def make(self: Any, *args: Any, **kwargs: Any) -> Any:
        made = getattr(base, name)(self, *args, **kwargs)
        return sticky(made) if isinstance(made, (RunnableBinding, RunnableSequence)) else made

    return make


def sticky(around: Any) -> Any:
    """What is around a guarded copy, of which a violation passes fallbacks and retries as it does of the copy."""
    kind: Any = type(around)
    if "__llmguard__" not in vars(kind) and _IS not in vars(kind):
        around.__class__ = _sticky(kind)
    return around


@lru_cache(maxsize=64)
def _sticky(kind: type) -> type:
    body = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    own = (
        {"with_fallbacks": with_fallbacks} if issubclass(kind, RunnableBinding) else STICKY
    )  # a binding asks what it binds
    made = type(kind.__name__, (kind,), {**body, **own})
    begin_as_made(made)
    type.__setattr__(made, _IS, True)
    return made
