"""provider_block: whether the provider itself refused, filtered or cut the answer by its policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._call import Call
from .._score import Score
from .._scorer import Scorer

__all__ = ["ProviderBlock", "provider_block"]

# Finish reasons and block reasons, in lower case.
_REASONS = frozenset(
    (
        "content_filter",  # OpenAI, Azure, and those that speak as they do
        "content_filtered",  # Bedrock
        "guardrail_intervened",
        "refusal",  # Anthropic, and OpenAI beside the text
        "blocklist",  # Google, as all that follow
        "image_prohibited_content",
        "image_recitation",
        "image_safety",
        "jailbreak",
        "model_armor",
        "prohibited_content",
        "recitation",
        "safety",
        "spii",
    )
)
# What clients of providers raise: codes, and classes where there is no code.
_CODES = {
    "content_filter": "content_filter",
    "content_policy_violation": "content_policy_violation",
    "responsibleaipolicyviolation": "content_filter",
}
_CLASSES = {
    "BlockedPromptException": "blocked",  # google-generativeai
    "ContentFilterFinishReasonError": "content_filter",  # openai
    "ContentPolicyViolationError": "content_policy_violation",  # litellm
    "OpenAIRefusalError": "refusal",  # langchain-openai
    "ResponseBlockedError": "blocked",  # vertexai
    "StopCandidateException": "blocked",
}
_UNSPECIFIED = ("", "0", "none", "block_reason_unspecified", "blocked_reason_unspecified")
_DEEPEST = 5  # exceptions that caused each other


class ProviderBlock(Scorer):
    """Flags calls that the provider stopped by its own policy; value is 1 for those, else 0, label the reason.

    The reason is the provider's word in lower case: content_filter, refusal, safety, prohibited_content,
    guardrail_intervened, ...
    """

    name = "provider_block"
    cheap = True
    of_call = True
    options = "provider_block"

    def score(self, call: Call | None = None, error: Any = None) -> Score:
        """Whether `call`, or the exception that ended it, tells of a refusal or a policy of the provider."""
        reason = _of_error(error) if isinstance(error, BaseException) else _of_answer(call)
        if not reason:
            return Score(value=0.0)
        why = f"the provider stopped the answer: {reason}"
        return Score(value=1.0, flagged=True, label=reason, explanation=why)


def _of_answer(call: Call | None) -> str:
    if call is None:
        return ""
    for given in call.finish_reasons:
        if (reason := _word(given)) in _REASONS:
            return reason
    reason = _word(call.block_reason)
    if reason in _UNSPECIFIED:
        return ""
    return reason if reason in _REASONS else "blocked"  # a number, or a word that is new


def _of_error(error: BaseException) -> str:
    for one in _causes(error):
        if found := _CLASSES.get(type(one).__name__):
            return found
        for code in _codes(one):
            if found := _CODES.get(code.lower()):
                return found
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and those that it was made of: frameworks put their own around those of clients."""
    one: BaseException | None = error
    for _ in range(_DEEPEST):
        if one is None:
            return
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _codes(error: BaseException) -> Iterator[str]:
    """What an exception says in its own fields (openai, azure-core) and in the body of the answer that it carries."""
    open_: list[Any] = [error]
    for _ in range(_DEEPEST):
        if not open_:
            return
        one = open_.pop(0)
        if isinstance(code := _field(one, "code"), str):
            yield code
        open_ += [inner for name in ("body", "error", "innererror") if (inner := _field(one, name)) is not None]


def _field(thing: Any, name: str) -> Any:
    try:
        return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)
    except Exception:  # noqa: BLE001 - a foreign object, looked at while another failure is on its way
        return None


def _word(given: Any) -> str:
    """A reason as a word: of an enum of Google's its name, which may be written with that of its class."""
    return str(getattr(given, "name", given)).rpartition(".")[2].lower()


def provider_block() -> ProviderBlock:
    """Find what the provider itself refused, filtered or cut by its policy.

    As a guardrail of the output it judges each answer of a model once, by its finish reasons and block reason, and each
    call that failed, by the exception: that is recorded, and raised to the caller as it is. With `action="log"` an
    answer goes on as well; with `block` a GuardrailViolation takes its place, or the guard's refusal.
    """
    return ProviderBlock()
