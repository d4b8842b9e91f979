"""What a model answers, through a flow's guardrails."""

from __future__ import annotations

from functools import partial
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, TextBlock

from llmguard_middleware._contents import asks_of_calls, is_silent, judged_contents, restored, taking
from llmguard_middleware._edits import apply
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan

from ._walk import Walk, texts_of

__all__ = ["released"]


def released(
    flow: Flow, message: ChatMessage, extra: dict[str, Any], *, reask: bool = True
) -> Plan[tuple[ChatMessage, dict[str, Any]]]:
    """A message of the model, and what the provider says beside it, as they may go to the caller.

    The arguments of tool calls are judged as what the caller gets and as what goes to a tool. `reask` says whether the
    caller can ask the model again.

    Raises:
        GuardrailViolation: if a guardrail stops the answer.
        AskAgain: if the model is to be asked again.
    """
    flow.root.check()
    yield from flow.settle_races()
    found = texts_of(message, extra)
    ask = partial(flow.edits, stage="output", reask=reask)
    if is_silent(found):
        text = apply("", (yield from ask("")))
        said = [block for block in message.blocks if not isinstance(block, TextBlock)]
        return (message.model_copy(update={"blocks": [*said, TextBlock(text=text)]}) if text else message), extra
    texts = yield from judged_contents(flow, found, ask, asks_of_calls(flow, ask))
    walk = Walk(taking(restored(flow, found, texts)))
    message = walk.message(message)
    return message, (walk.mapping(extra) if extra else extra)
