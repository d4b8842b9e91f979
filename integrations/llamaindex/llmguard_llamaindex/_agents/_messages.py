"""An agent's answer that asks for tools, with other arguments: in its message, its text and what the agent notes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.agent.workflow import CodeActAgent, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, TextBlock
from llama_index.core.tools import ToolSelection

from llmguard_middleware._leaves import leaves

from .._convert import get
from .._seal import seal_of

__all__ = ["asks_in_text", "in_message", "in_text", "is_llamaindex", "noted", "with_text"]

_CODE = re.compile(r"<execute>(.*?)</execute>", re.DOTALL)


def asks_in_text(agent: Any) -> bool:
    """Whether an agent's model may ask for tools in its text, and not by tool calls alone."""
    return not isinstance(agent, FunctionAgent)


def is_llamaindex(agent: Any) -> bool:
    """Whether an agent is one of LlamaIndex's own, whose events repeat what its LLM says, and nothing else."""
    found = seal_of(agent)
    kind = type(agent) if found is None else found.original
    return kind.__module__.startswith("llama_index.core.")


def in_message(message: ChatMessage, told: Mapping[str, Mapping[str, Any]]) -> ChatMessage:
    """The message with other arguments for the tool calls of these ids, wherever the provider repeats them."""
    blocks = []
    for block in message.blocks:
        found = told.get(str(getattr(block, "tool_call_id", None)))
        if found is None or not hasattr(block, "tool_kwargs"):
            blocks.append(block)
        else:
            kwargs = json.dumps(found, ensure_ascii=False) if isinstance(block.tool_kwargs, str) else dict(found)
            blocks.append(block.model_copy(update={"tool_kwargs": kwargs}))
    extra = dict(message.additional_kwargs)
    if isinstance(calls := extra.get("tool_calls"), (list, tuple)):
        extra["tool_calls"] = [_openai(call, told) for call in calls]
    return message.model_copy(update={"blocks": blocks, "additional_kwargs": extra})


def _openai(call: Any, told: Mapping[str, Mapping[str, Any]]) -> Any:
    found = told.get(str(get(call, "id")))
    if found is None:
        return call
    written, function = json.dumps(found, ensure_ascii=False), get(call, "function")
    if isinstance(call, Mapping):
        return {**call, "function": {**(function or {}), "arguments": written}}
    return call.model_copy(update={"function": function.model_copy(update={"arguments": written})})


def in_text(agent: Any, text: str, before: Sequence[ToolSelection], after: Sequence[ToolSelection]) -> str:
    """The text in which a model asked for these tools, with the arguments as they were let pass."""
    changed = [(one, other) for one, other in zip(before, after, strict=True) if one.tool_kwargs != other.tool_kwargs]
    if isinstance(agent, CodeActAgent):
        for one, other in changed:
            if one.tool_name == "execute":
                # All pieces of code were run as one.
                first, *others = _CODE.split(text)[::2]
                code = other.tool_kwargs.get("code", "")
                text = f"{first}<execute>{code}</execute>{''.join(others)}"
    elif isinstance(agent, ReActAgent) and changed:
        head, found, _ = text.partition("Action Input:")
        thought = text.partition("Action:")[0]
        head = head if found else f"{thought}Action: {after[0].tool_name}\n"
        text = f"{head}Action Input: {json.dumps(after[0].tool_kwargs, ensure_ascii=False)}"
    for one, other in changed:  # what is repeated elsewhere, or by an agent of another kind
        for raw, told in zip(leaves(one.tool_kwargs), leaves(other.tool_kwargs), strict=False):
            if raw and raw != told:
                text = text.replace(raw, told)
    return text


def with_text(message: ChatMessage, text: str) -> ChatMessage:
    """The message with this text in place of its own."""
    others = [block for block in message.blocks if not isinstance(block, TextBlock)]
    return message.model_copy(update={"blocks": [TextBlock(text=text), *others]})


async def noted(agent: Any, ctx: Any, before: ChatMessage, after: ChatMessage, call: ToolSelection | None) -> None:
    """Have the agent's own notes of this run say the same."""
    if (key := getattr(agent, "scratchpad_key", None)) is not None:
        notes = await ctx.store.get(key, default=[])
        await ctx.store.set(key, [after if note is before or note == before else note for note in notes])
    if call is not None and (key := getattr(agent, "reasoning_key", None)) is not None:
        steps = await ctx.store.get(key, default=[])
        if steps and hasattr(steps[-1], "action_input"):
            update = {"action_input": call.tool_kwargs}
            await ctx.store.set(key, [*steps[:-1], steps[-1].model_copy(update=update)])
