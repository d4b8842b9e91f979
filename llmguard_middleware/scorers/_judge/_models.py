"""What a judge's `model=` may be: a name, an import path, a model of a framework that has an adapter, or a function."""

from __future__ import annotations

import re
from functools import reduce
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from ...errors import ConfigurationError, nearest
from ._functions import FunctionModel
from ._litellm import LiteLLM
from ._model import JudgeModel

__all__ = ["model_of"]

_GROUP = "llmguard_middleware.judges"
_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")
_WHAT = (
    'give a chat model of LangChain or an LLM of LlamaIndex, the name of a model for LiteLLM ("openai/gpt-5-mini"), '
    '"package.module:attribute", or a function from a prompt to a reply'
)


def model_of(given: Any) -> JudgeModel:
    """The model that a setting says.

    Raises:
        ConfigurationError: saying what to give.
    """
    if isinstance(given, str):
        return _named(given)
    if isinstance(given, type):
        msg = f"model of a judge is the class {given.__name__}; {_WHAT}"
        raise ConfigurationError(msg)
    if all(hasattr(given, part) for part in ("ask", "aask", "forms", "is_async")):
        return given  # type: ignore[no-any-return]  # a JudgeModel, as far as one can see
    if (adapted := _adapted(given)) is not None:
        return adapted
    if callable(given):
        return FunctionModel(given)
    msg = f"model of a judge is of type {type(given).__name__}; {_WHAT}"
    raise ConfigurationError(msg)


def _named(name: str) -> JudgeModel:
    if not name.strip() or "\n" in name:
        msg = f"model of a judge is no name; {_WHAT}"
        raise ConfigurationError(msg)
    if not _PATH.match(name):
        return LiteLLM(name)
    module, _, attribute = name.partition(":")
    try:
        found = reduce(getattr, attribute.split("."), import_module(module))
    except AttributeError:
        msg = f'model of a judge: module "{module}" has no "{attribute}"'
        raise ConfigurationError(msg) from None
    except Exception as error:
        msg = f'model of a judge: "{module}" cannot be imported: {type(error).__name__}; {_WHAT}'
        raise ConfigurationError(msg) from error
    return model_of(found)


def _adapted(given: Any) -> JudgeModel | None:
    """The model behind the adapter for the package that its class, or one of those above it, comes from."""
    points = {point.name: point for point in entry_points(group=_GROUP)}
    packages = dict.fromkeys(base.__module__.partition(".")[0] for base in type(given).__mro__)
    for package in packages:
        if (point := points.get(package)) is None:
            continue
        try:
            make = point.load()
        except Exception as error:
            msg = f'the adapter for models of "{package}" cannot be imported: {type(error).__name__}'
            raise ConfigurationError(msg) from error
        if (made := make(given)) is not None:
            return made  # type: ignore[no-any-return]  # what is registered there makes these
    if not callable(given) and any(hasattr(given, way) for way in ("invoke", "chat", "complete")):
        known = nearest(next(iter(packages)), points) if points else "none is installed"
        msg = f"model of a judge is of type {type(given).__name__}, which no installed adapter knows: {known}"
        raise ConfigurationError(msg)
    return None
