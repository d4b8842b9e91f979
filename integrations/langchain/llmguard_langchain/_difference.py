"""What is missing of a message of which some has been sent: the chunk that makes it whole when LangChain adds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from llmguard_middleware.errors import LLMGuardError

__all__ = ["missing"]

_SAME: Any = object()
_FIELDS = ("additional_kwargs", "tool_call_chunks", "response_metadata", "usage_metadata")


def missing(
    whole: ChatGenerationChunk, sent: ChatGenerationChunk | None, ending: ChatGenerationChunk | None = None
) -> list[ChatGenerationChunk]:
    """The chunks that make the `whole` of what was `sent` and an `ending` to follow, which has no content.

    Raises:
        LLMGuardError: if something was sent that is not in the whole, so that nothing can be added to make it that.
    """
    known = [one for one in (sent, ending) if one is not None]
    if not known:
        return [whole]
    told = known[0] if len(known) == 1 else known[0] + known[1]
    message, info = whole.message, _rest(whole.generation_info or {}, told.generation_info or {})
    rest = {name: _rest(_field(message, name), _field(told.message, name)) for name in _FIELDS}
    rest["content"] = message.content if sent is None else _rest(message.content, sent.message.content)
    rest = {name: value for name, value in rest.items() if value is not _SAME}
    last = getattr(message, "chunk_position", None)
    if last and not getattr(told.message, "chunk_position", None):
        rest["chunk_position"] = last
    chunks: list[ChatGenerationChunk] = []
    content = rest.get("content")
    if isinstance(content, list) and content and isinstance(content[0], _Longer):
        # LangChain adds a text to the last one, and a list behind it.
        chunks.append(ChatGenerationChunk(message=_like(message, {"content": str(content[0])})))
        rest["content"] = content[1:]
    if any(rest.values()) or info is not _SAME:
        more = None if info is _SAME else info
        chunks.append(ChatGenerationChunk(message=_like(message, rest), generation_info=more))
    return chunks


class _Longer(str):
    """The rest of a text in a list; what is in the list behind it comes behind it."""

    __slots__ = ()


def _field(message: BaseMessageChunk, name: str) -> Any:
    value = getattr(message, name, None)
    return value or ([] if isinstance(value, list) else {})


def _like(message: BaseMessageChunk, fields: Mapping[str, Any]) -> BaseMessageChunk:
    if isinstance(message, AIMessageChunk):
        content = fields.get("content", [] if isinstance(message.content, list) else "")
        return AIMessageChunk(id=message.id, content=content, **{k: v for k, v in fields.items() if k != "content"})
    nothing = {"content": "", "additional_kwargs": {}, "response_metadata": {}}
    return message.model_copy(update={**nothing, **fields})


def _rest(whole: Any, sent: Any) -> Any:
    """What has to be added to `sent`, by LangChain's rules, to make it `whole`; `_SAME` if nothing."""
    if (type(whole) is type(sent) and whole == sent) or sent is None:
        return _SAME if sent is not None else whole
    if isinstance(whole, str) and isinstance(sent, str) and whole.startswith(sent):
        return whole[len(sent) :]
    if isinstance(whole, Mapping) and isinstance(sent, Mapping):
        rest = {key: _rest(value, sent.get(key)) for key, value in whole.items()}
        if sent.keys() <= whole.keys():
            return {key: value for key, value in rest.items() if value is not _SAME and whole[key] is not None} or _SAME
    if isinstance(whole, list) and isinstance(sent, str):
        return _rest_behind(whole, sent)
    if isinstance(whole, list):
        return _rest_of_list(whole, list(sent))
    if isinstance(whole, (int, float)) and isinstance(sent, (int, float)) and not isinstance(whole, bool):
        return whole - sent
    raise LLMGuardError(_UNLIKE)


def _rest_behind(whole: Sequence[Any], sent: str) -> Any:
    """What makes a text the first of a list."""
    first = whole[0] if whole and isinstance(whole[0], str) else ""
    if not first.startswith(sent):
        raise LLMGuardError(_UNLIKE)
    more = first[len(sent) :]
    rest = list(whole[1:] if whole and isinstance(whole[0], str) else whole)
    return ([_Longer(more), *rest] if more else rest) or _SAME


def _rest_of_list(whole: Sequence[Any], sent: Sequence[Any]) -> Any:
    rest: list[Any] = []
    left = list(sent)
    for item in whole:
        index = item.get("index") if isinstance(item, Mapping) else None
        match = next((one for one in left if _adds(one, item, index)), None)
        if match is None:
            if index is None and left:
                raise LLMGuardError(_UNLIKE)
            rest.append(item)
            continue
        left = [one for one in left if one is not match]
        if (more := _rest(item, match)) is _SAME:
            continue
        if index is None:
            # Only the last of them can still grow.
            if left:
                raise LLMGuardError(_UNLIKE)
            rest.append(_Longer(more) if isinstance(more, str) else {**more, "type": item.get("type")})
        else:
            rest.append({**({"type": item["type"]} if item.get("type") else {}), **more, "index": index})
    if left:
        raise LLMGuardError(_UNLIKE)
    return rest or _SAME


def _adds(sent: Any, item: Any, index: Any) -> bool:
    """Whether `sent` is the beginning of `item`."""
    if index is None:
        return not isinstance(sent, Mapping) or "index" not in sent
    if not isinstance(sent, Mapping) or sent.get("index") != index:
        return False
    return not (sent.get("id") and item.get("id") and sent["id"] != item["id"])


_UNLIKE = (
    "a scorer judged the same text in two ways, so the rest of a stream cannot be told; make its scores depend on it"
)
