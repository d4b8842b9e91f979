"""The verdict on how a call of a model ended: by an answer, or by an exception of the provider's client."""

from __future__ import annotations

from collections.abc import Sequence

from ._call import Call
from ._drive import run_inline
from ._judge import settle
from ._rules import Guardrail
from ._verdict import Verdict, worst

__all__ = ["verdict_on_end"]


def verdict_on_end(rules: Sequence[Guardrail], call: Call, error: BaseException | None) -> Verdict:
    """What these rules find, whose scorers are `of_call`; `error` is what ended the call, if it was not answered."""
    available = {**call.available(), "text": "", "error": error}
    findings = tuple(settle(rule, run_inline(0, rule, available), "") for rule in rules)
    return Verdict(worst([finding.outcome for finding in findings]), "output", "", findings)
