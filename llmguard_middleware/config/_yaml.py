"""YAML as nodes, read as version 1.2 does: `on` and `yes` are words, `1:30` and `010` are no numbers."""

from __future__ import annotations

import re
from typing import Any

import yaml

__all__ = ["MOST_REPEATED", "compose", "plain", "typed"]

MOST_REPEATED = 10_000  # values that the aliases of a file stand for; a few lines of them can stand for billions

_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own attribute; below it is filled anew

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put the pairs of merged mappings (`<<`) in their place.

        Raises:
            yaml.MarkedYAMLError: if there are too many.
        """
        super().flatten_mapping(node)
        if len(node.value) > MOST_REPEATED:
            raise yaml.MarkedYAMLError(problem="merges too much", problem_mark=node.start_mark)


for _tag, _pattern, _first in (
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)\Z", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?\Z", "-+.0123456789"),
    ("float", r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z", "-+."),
    ("null", r"(?:~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
    ("merge", r"(?:<<)\Z", "<"),
):
    _Loader.add_implicit_resolver(_TAG + _tag, re.compile(_pattern), list(_first))


def compose(text: str) -> tuple[yaml.Node | None, _Loader]:
    """The one document in this text, None if there is nothing, and what its mappings are flattened with.

    Raises:
        yaml.YAMLError: for what is no YAML.
    """
    loader = _Loader(text)
    return loader.get_single_node(), loader


def typed(node: yaml.ScalarNode) -> Any:
    """The value of a scalar.

    Raises:
        ValueError: for a tag that is not one of JSON's types.
    """
    kind = node.tag.removeprefix(_TAG)
    if kind == "bool":
        return node.value.lower() == "true"
    if kind == "int":
        return int(node.value)
    if kind == "float":
        return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if kind == "null":
        return None
    if kind == "str":
        return str(node.value)
    raise ValueError(node.tag)


def plain(text: str) -> Any:
    """The value of this text as a scalar without quotes."""
    resolver: Any = _Loader("")
    tag = resolver.resolve(yaml.ScalarNode, text, (True, False))
    return typed(yaml.ScalarNode(tag, text))
