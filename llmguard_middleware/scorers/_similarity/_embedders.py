"""Embedding models as functions of one text, whatever library they are of; none is imported."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ...errors import ConfigurationError, ScorerError

__all__ = ["Embed", "embedder", "expect_local", "load_local", "ready"]

Embed = Callable[[str], Any]  # gives a vector, or an awaitable of one


def embedder(model: Any) -> Embed:
    """The function that embeds a text as documents are, for answers and references alike.

    Raises:
        ConfigurationError: if it is no embedding model.
    """
    if isinstance(model, type):
        msg = f"embed is the class {model.__name__}; give a model: {model.__name__}(...)"
        raise ConfigurationError(msg)
    if callable(of_texts := getattr(model, "embed_documents", None)):  # LangChain's Embeddings
        return lambda text: of_texts([text])
    if callable(of_text := getattr(model, "get_text_embedding", None)):  # LlamaIndex's BaseEmbedding
        return of_text  # type: ignore[no-any-return]  # a method of a foreign object
    if callable(encode := getattr(model, "encode", None)):  # sentence-transformers
        return encode  # type: ignore[no-any-return]  # as above
    if callable(model):
        return model  # type: ignore[no-any-return]  # as above
    msg = f"embed is {type(model).__name__}; give a function of a text, an embedding model, or the name of a local one"
    raise ConfigurationError(msg)


def expect_local() -> None:
    """Refuse the name of a local model where nothing can load it."""
    if find_spec("sentence_transformers") is None:
        msg = "a local embedding model needs sentence-transformers: pip install sentence-transformers"
        raise ConfigurationError(msg)


def load_local(name: str) -> Embed:
    """The local model of this name or path."""
    return embedder(import_module("sentence_transformers").SentenceTransformer(name))  # seconds, and PyTorch


def ready(raw: Any) -> Any:
    """What a sync model gave.

    Raises:
        ScorerError: if that is yet to come.
    """
    if inspect.isawaitable(raw):
        if inspect.iscoroutine(raw):
            raw.close()  # it will never be awaited
        msg = 'embed of scorer "embedding_similarity" returned an awaitable; declare it with "async def"'
        raise ScorerError(msg)
    return raw
