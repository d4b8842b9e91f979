"""Other instrumentations in the process: they are told that a call has its span, and may tell us to be silent.

Each has a context key of its own. Traceloop's of providers skip a call under `suppress_language_model_instrumentation`;
OpenTelemetry's (opentelemetry-util-genai) where one of its records of a call is in the context; OpenInference's know
only `suppress_instrumentation`, which HTTP clients heed, too: it is set only where OpenInference is switched on.
"""

from __future__ import annotations

import sys
from typing import Any

from opentelemetry import context as otel
from opentelemetry.context import Context

__all__ = ["INSTRUMENTATION", "Hush", "beneath", "others", "suppressed", "told"]

_SUPPRESS = getattr(otel, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")
_SUPPRESS_MODELS = "suppress_language_model_instrumentation"
INSTRUMENTATION = "opentelemetry.instrumentation.instrumentor"  # each of them imports it
_OPENINFERENCE = "openinference.instrumentation"
_GENAI = "opentelemetry.util.genai."
_INFERENCE = ("opentelemetry.genai.client.inference.context", "_inference_invocation", "InferenceData")
# By operation: OpenTelemetry's key, and the class of the record that it looks for, by module and name.
_RECORDS = {
    "chat": _INFERENCE,
    "text_completion": _INFERENCE,
    "generate_content": _INFERENCE,
    "embeddings": ("opentelemetry.genai.client.embedding.context", "_embedding_invocation", "EmbeddingData"),
}


class _Ours:
    """A true value for as long as the call lasts: a context may be left behind by a task that was cancelled."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over = False

    def __bool__(self) -> bool:
        return not self.over


def others() -> bool:
    """Whether this process has instrumentations at all: mostly not, and then nothing here costs anything."""
    return INSTRUMENTATION in sys.modules


def _openinference() -> bool:
    """Whether any instrumentation of OpenInference is switched on; to have imported one traces nothing."""
    if _OPENINFERENCE not in sys.modules:
        return False
    # Each is the one object of its class, which that keeps.
    made = [
        getattr(kind, "_instance", None)
        for kind in sys.modules[INSTRUMENTATION].BaseInstrumentor.__subclasses__()
        if kind.__module__.startswith(_OPENINFERENCE)
    ]
    return any(getattr(one, "is_instrumented_by_opentelemetry", False) for one in made)


def suppressed(context: Context) -> bool:
    """Whether the application, not one of our calls, asked for no spans here."""
    said = context.get(_SUPPRESS)
    return bool(said) and type(said) is not _Ours


def told(below: Context, operation: str, suppress: bool | None = None, keep: list[Any] | None = None) -> Context:
    """The context below a call as other instrumentations read it: this model is traced already.

    Args:
        below: the context as it is.
        operation: of the call; of no other than models' is anything said.
        suppress: whether to set `suppress_instrumentation`, too; None: where OpenInference is switched on.
        keep: gets the values that `Hush.over` takes back.
    """
    if operation not in _RECORDS:
        return below
    ours = _Ours()
    said: dict[str, Any] = {_SUPPRESS_MODELS: ours}
    if suppress or (suppress is None and _openinference() and not suppressed(below)):
        said[_SUPPRESS] = ours
    key, module, name = _RECORDS[operation]
    record = getattr(sys.modules.get(_GENAI + module), name, None)
    if record is not None and below.get(key) is None:
        said[key] = record()
    if keep is not None:
        keep += said.values()
    return Context({**below, **said})


class _Hushed(Context):
    """The very context of a `Hush`; those that are made of it are plain ones.

    Attributes:
        before: the context that it was put upon.
        over: whether its call is.
    """

    before: Context
    over = False


def beneath(context: Context) -> Context:
    """The context that a `Hush` was put upon, where it is one's: who left a context there finds it again."""
    while type(context) is _Hushed:
        context = context.before
    return context


class _Over:
    """What becomes of OpenTelemetry's record, which is known by its class, once the call is over."""


class Hush:
    """Tells others of a call that no code of ours is around: from its start until `over`, or its first piece."""

    __slots__ = ("_below", "_said")

    def __init__(self, operation: str, suppress: bool | None) -> None:
        self._said: list[Any] = []
        before = otel.get_current()
        self._below = _Hushed(told(before, operation, suppress, self._said))
        self._below.before = before
        otel.attach(self._below)

    def over(self) -> None:
        """It is no longer so, also where the context was left behind."""
        for value in self._said:
            if type(value) is _Ours:
                value.over = True
            else:
                value.__class__ = _Over
        self._below.over = True
        # Several streams of one task may end in the order in which they began: the last one takes all away.
        now = otel.get_current()
        before = now
        while type(before) is _Hushed and before.over:
            before = before.before
        if before is not now:
            otel.attach(before)  # no token: a run may end in another task than it began
