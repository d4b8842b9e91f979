"""What stops everything below an outermost call once something in it was stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs

from llmguard_middleware._root import Root

__all__ = ["watched", "watching"]


class Sentinel(BaseCallbackHandler):
    """Once a call was stopped, lets nothing start any more below the same outermost call: no model, no tool, no chain.

    So a fallback is not asked what the guard has blocked, and a violation that became a tool's text goes no further.
    """

    raise_error = True
    run_inline = True

    def __init__(self, root: Root) -> None:
        self.root = root

    def _starts(self, *_: Any, **__: Any) -> None:
        self.root.check()

    def _failed(self, error: BaseException, **_: Any) -> None:
        self.root.note(error)

    def on_retriever_end(self, documents: Sequence[Any], **_: Any) -> None:
        """Keep what was retrieved, for scorers that ask for `context`."""
        found = [document.page_content for document in documents]
        self.root.documents += tuple(text for text in found if text not in self.root.documents)

    on_chain_start = on_chat_model_start = on_llm_start = on_tool_start = on_retriever_start = _starts
    on_chain_error = on_llm_error = on_tool_error = on_retriever_error = _failed


def watched(config: RunnableConfig, root: Root) -> RunnableConfig:
    """The config of a call with a `Sentinel`."""
    return merge_configs(config, {"callbacks": [Sentinel(root)]})


def watching(callbacks: Any, root: Root) -> Any:
    """`watched`, for callbacks without their config."""
    return merge_configs({"callbacks": callbacks}, {"callbacks": [Sentinel(root)]})["callbacks"]
