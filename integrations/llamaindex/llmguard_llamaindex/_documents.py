"""Retrieved nodes through the retrieval guardrails: their texts and their metadata, in copies where one changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, Node, NodeWithScore, RelatedNodeInfo

from llmguard_middleware import Guard
from llmguard_middleware._edits import cut
from llmguard_middleware._flow import Flow
from llmguard_middleware._json_text import tokens, with_tokens
from llmguard_middleware._judge import Plan
from llmguard_middleware._leaves import leaves, with_leaves
from llmguard_middleware._steps import Judge, Steps
from llmguard_middleware._together import told_apart

from ._root import root_of

__all__ = ["judged", "keep_hidden", "texts_of", "unjudged"]

_BETWEEN = "\n"


def texts_of(nodes: Sequence[NodeWithScore]) -> tuple[str, ...]:
    """The texts of nodes, without metadata."""
    return tuple(_text(item.node) for item in nodes)


def _text(node: BaseNode) -> str:
    return node.get_content(metadata_mode=MetadataMode.NONE)


def _key(node: BaseNode) -> tuple[str, str]:
    """What of a node is judged."""
    return _text(node), repr(node.metadata)


def unjudged(guard: Guard, nodes: Sequence[NodeWithScore]) -> bool:
    """Whether anything in a node has not passed the guard's retrieval guardrails under this query yet."""
    root = root_of(guard)
    return guard.has_rules("retrieval") and any(
        not (root and _key(item.node) in root.documents) for item in nodes if _text(item.node) or item.node.metadata
    )


def judged(flow: Flow, nodes: Sequence[NodeWithScore]) -> Steps[list[NodeWithScore]]:
    """The nodes as the retrieval guardrails let them pass, in copies where a text is redacted: no store changes.

    A text that is replaced or redacted takes its node's place in the context and in the sources; metadata are judged as
    well, since models and callers see them. What is no text (an image, a sound) passes, and the span says so.

    Raises:
        GuardrailViolation: if a guardrail stops one of them.
    """
    guard, root = flow.guard, root_of(flow.guard)
    flow.root.check()
    passed: list[NodeWithScore] = []
    for item in nodes:
        node = item.node
        if flow.rules("retrieval"):
            flow.span.not_scanned(_media(node))
            if not (root and _key(node) in root.documents):
                node = yield Judge(guard, _node(flow, node))
        node = _restored(flow, node)
        if root is not None:
            root.documents.add(_key(node))
        passed.append(item if node is item.node else item.model_copy(update={"node": node}))
    if root is not None:
        root.context = texts_of(passed)
    return passed


def _restored(flow: Flow, node: Any) -> Any:
    """The node with the originals of what went in as pseudonyms, if it leaves the outermost call."""
    if any(rule.action == "pseudonymize" for rule in flow.rules("retrieval")):
        return node  # the caller is to work with these
    text = _text(node)
    told = flow.restored(text)
    if told == text:
        return node
    changed = node.model_copy()
    changed.set_content(told)
    return changed


def _media(node: BaseNode) -> list[str]:
    """The kinds of content of a node that no guardrail can look at."""
    if isinstance(node, ImageNode):
        return ["image"] if node.image or node.image_path or node.image_url else []
    if not isinstance(node, Node):
        return []
    return [kind for kind in ("image", "audio", "video") if getattr(node, f"{kind}_resource") is not None]


def _node(flow: Flow, node: Any) -> Plan[Any]:
    text = told = _text(node)
    if text:
        told = yield from flow.judge(text, "retrieval")
    metadata = yield from _values(flow, node.metadata)
    related = yield from _related(flow, node.relationships)
    if told == text and metadata is node.metadata and related is node.relationships:
        return node
    changed = node.model_copy(update={"metadata": metadata, "relationships": related})
    keep_hidden(changed, node.metadata)
    if told != text:
        changed.set_content(told)
    return changed


def keep_hidden(changed: Any, before: Mapping[str, Any]) -> None:
    """Have a node's metadata that nobody was to see stay unseen, whose names may be others than `before`."""
    names = dict(zip(before, changed.metadata, strict=False))
    for field in ("excluded_llm_metadata_keys", "excluded_embed_metadata_keys"):
        if any(names.get(name, name) != name for name in getattr(changed, field)):
            setattr(changed, field, [names.get(name, name) for name in getattr(changed, field)])


def _related(flow: Flow, relationships: Mapping[Any, Any]) -> Plan[Any]:
    """What a node tells of others, which holds their metadata."""
    told: dict[Any, Any] = {}
    changed = False
    for relationship, infos in relationships.items():
        each: list[RelatedNodeInfo] = []
        for info in infos if isinstance(infos, list) else [infos]:
            metadata = yield from _values(flow, info.metadata)
            changed = changed or metadata is not info.metadata
            each.append(info if metadata is info.metadata else info.model_copy(update={"metadata": metadata}))
        told[relationship] = each if isinstance(infos, list) else each[0]
    return told if changed else relationships


def _values(flow: Flow, metadata: dict[str, Any]) -> Plan[dict[str, Any]]:
    """Metadata as they may leave. Keys and values stand beside each other, a line each, and are judged at once."""
    if not metadata:
        return metadata
    try:
        written = json.dumps(metadata, ensure_ascii=False)
    except (TypeError, ValueError):
        told: dict[str, Any] = with_leaves(metadata, (yield from _lines(flow, leaves(metadata))))
        return told
    found = tokens(written)
    texts = [token.text for token in found]
    after = yield from _lines(flow, texts, [i for i, token in enumerate(found) if not token.key])
    if after == texts:
        return metadata
    keys = [token.text if token.key else "" for token in found]
    changed: dict[str, Any] = json.loads(with_tokens(written, found, told_apart(keys, after)))
    return changed


def _lines(flow: Flow, texts: list[str], values: Sequence[int] | None = None) -> Plan[list[str]]:
    """`values` are those that give way, by index, if all is to be replaced; the others are keys. All, if None."""
    lines = [i for i, text in enumerate(texts) if text]
    whole = _BETWEEN.join(texts[i] for i in lines)
    if not whole:
        return texts
    edits = yield from flow.edits(whole, "retrieval")
    if not edits:
        return texts
    told = list(texts)
    if len(edits) == 1 and edits[0][:2] == (0, len(whole)):
        for i in lines if values is None else values:
            told[i] = ""
        told[(values or lines)[0]] = edits[0].replacement
        return told
    view = [piece for i in lines for piece in (_BETWEEN, texts[i])][1:]
    for i, text in zip(lines, cut(view, edits)[::2], strict=True):
        told[i] = text
    return told
