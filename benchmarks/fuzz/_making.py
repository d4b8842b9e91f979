"""Every inline scorer that is registered, made with the options that it needs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from llmguard_middleware._bound import BoundScorer
from llmguard_middleware._scorer import bind

__all__ = ["MAKES", "Inline", "inline_scorers"]

_GROUP = "llmguard_middleware.scorers"

Make = tuple[tuple[Any, ...], Mapping[str, Any]]

# How each cheap scorer is made, once or in several ways. One that is not here fails the run; those of whole calls,
# which look at no text, need not be.
MAKES: dict[str, tuple[Make, ...]] = {
    "canary": ((("kQ7canaryZt93",), {}),),
    "code_injection": (((), {}), ((), {"ignore_fenced": True})),
    "deny_list": ((("acme", "Project X", "홍길동", "aa"), {}), (("aba", "é"), {"whole_words": False})),
    "exact_match": (
        ((), {"reference": "Paris."}),
        ((), {"reference": "파리", "ignore_case": True, "ignore_punctuation": True, "form": "NFKC"}),
    ),
    "invisible_text": (((), {}),),
    "length": (((), {}), ((), {"least": 3, "most": 9, "unit": "words"})),
    "pii": (((), {}),),
    "prompt_injection": (((), {}),),
    "regex": (
        (([r"\b\d{3}-\d{4}\b", r"(a|aa)+$"],), {}),
        ((r"[가-힣]+@\w+",), {"ignore_case": True, "max_length": 40}),
    ),
    "secrets": (((), {}),),
    "topics": (((["politics", "violence", "self_harm"],), {}),),
    "url_allow_list": ((("example.com",), {}), (("example.com",), {"subdomains": True, "bare_domains": True})),
    "valid_json": (((), {}), ((), {"fenced": True})),
    "valid_xml": (((), {}), ((), {"fragments": True, "fenced": True})),
}


class Inline(NamedTuple):
    """A scorer that runs on the caller's thread; `label` tells it from the same one made in another way."""

    label: str
    bound: BoundScorer


def inline_scorers(names: Iterable[str] = ()) -> list[Inline]:
    """Those of these names, of all distributions; all of them if none is named.

    Raises:
        LookupError: if there is none of a name, or `MAKES` does not say how to make one.
    """
    points = {point.name: point for point in entry_points(group=_GROUP)}
    wanted = list(names) or sorted(points)
    if unknown := [name for name in wanted if name not in points]:
        msg = f"no scorer is registered as {', '.join(unknown)}; there are {', '.join(sorted(points))}"
        raise LookupError(msg)
    inline: list[Inline] = []
    for name in wanted:
        factory = points[name].load()
        if name not in MAKES:
            if not _is_cheap(factory):
                continue
            msg = f'"{name}" is cheap and benchmarks/fuzz/_making.py does not say how to make it: add it to MAKES'
            raise LookupError(msg)
        for number, (args, options) in enumerate(MAKES[name]):
            label = name if number == 0 else f"{name}#{number}"
            inline.append(Inline(label, bind(factory(*args, **options))))
    return inline


def _is_cheap(factory: Any) -> bool:
    """Whether what a factory says it returns is cheap."""
    if isinstance(factory, type):
        return bool(getattr(factory, "cheap", False))
    said = getattr(factory, "__annotations__", {}).get("return")
    # By name in its module: other annotations may be there for the type checker alone.
    made = getattr(sys.modules.get(factory.__module__), said, None) if isinstance(said, str) else said
    return bool(getattr(made, "cheap", False)) and not getattr(made, "of_call", False)
