"""What a file means, as a table, and that it is fine, as a line: plain text, the same for the same file."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Mapping, Sequence

from .._rules import Guardrail
from ..errors import ConfigurationError, nearest
from ._loader import Compiled, Loader, Source
from ._schema import GuardFile
from ._words import COLUMNS, row

__all__ = ["check", "explain", "schema"]

_WIDEST = 20  # of a cell, in characters; a word that is longer has a wider column


def check(source: Source, *, environ: Mapping[str, str] | None = None) -> str:
    """One line that says that a configuration is fine.

    Raises:
        ConfigurationError: if it is not, with a line for each problem.
    """
    loader = Loader(source, os.environ if environ is None else environ)
    compiled = loader.compile()
    guardrails = sum(isinstance(built.object, Guardrail) for built in compiled.rules)
    counted = [
        (guardrails, "guardrail"),
        (len(compiled.rules) - guardrails, "monitor"),
        (len(compiled.tenants), "tenant"),
    ]
    counts = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counted)
    return f"{loader.path or 'config'}: {counts}: fine (digest {compiled.policy.digest})"


def explain(source: Source, *, tenant: str | None = None, environ: Mapping[str, str] | None = None) -> str:
    """The rules in plain words, one a row, as they are for this tenant.

    Raises:
        ConfigurationError: if the configuration is wrong, or there is no such tenant.
    """
    loader = Loader(source, os.environ if environ is None else environ)
    compiled = loader.compile()
    if tenant is not None and tenant not in compiled.tenants:
        known = nearest(tenant, compiled.tenants) if compiled.tenants else "the file names none"
        msg = f'there is no tenant "{tenant}": {known}'
        raise ConfigurationError(msg)
    built = compiled.rules if tenant is None else compiled.tenants[tenant]
    title = f"{loader.path or 'config'}, for {f'tenant {tenant}' if tenant else 'calls of no tenant in particular'}"
    return "\n".join([title, "", *_table([COLUMNS, *map(row, built)]), "", *_notes(compiled)])


def schema() -> str:
    """The JSON schema of the file."""
    return json.dumps(GuardFile.model_json_schema(), indent=2)


def _notes(compiled: Compiled) -> list[str]:
    if not compiled.tenants:
        return ["The rules are the same for all tenants."]
    return [f"Other rules may hold for tenants: {', '.join(compiled.tenants)}."]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    wrapped = [[_wrapped(cell) for cell in one] for one in rows]
    widths = [max(len(line) for one in wrapped for line in one[column]) for column in range(len(COLUMNS))]
    rule = "+".join("-" * (width + 2) for width in widths)
    rule = f"+{rule}+"
    lines = [rule]
    for one in wrapped:
        for place in range(max(map(len, one))):
            cells = [cell[place] if place < len(cell) else "" for cell in one]
            lines.append("| " + " | ".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)) + " |")
        lines.append(rule)
    return lines


def _wrapped(cell: str) -> list[str]:
    return textwrap.wrap(cell, _WIDEST, break_long_words=False, break_on_hyphens=False) or [""]
