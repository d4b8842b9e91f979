"""What keeps a guarded sequence in one piece: LangChain takes the steps of a sequence that becomes part of another."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import Runnable

from .._copies import bare

__all__ = ["sequence_members"]


def sequence_members(base: type[Any]) -> dict[str, Any]:
    """The members by which a guarded sequence is one step of the sequence that it becomes part of."""

    def own(name: str) -> Any:
        return property(lambda self: getattr(bare(self, base), name))

    def method(name: str) -> Any:
        return lambda self, *args, **kwargs: getattr(bare(self, base), name)(*args, **kwargs)

    return {
        "steps": property(
            lambda self: [Runnable.bind(self)]
        ),  # no sequence itself, or it would be taken apart for ever
        "config_specs": own("config_specs"),
        **{name: method(name) for name in ("get_input_schema", "get_output_schema", "get_graph", "__repr__")},
        "__or__": vars(Runnable)["__or__"],
        "__ror__": vars(Runnable)["__ror__"],
    }
