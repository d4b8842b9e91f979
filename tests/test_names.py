"""The names in use are those of the GenAI semantic conventions, checked against a vendored list of them."""

from __future__ import annotations

import pytest
from live_check._conventions import THEIRS

from llmguard_middleware.telemetry import _names

USED = {constant: value for constant, value in vars(_names).items() if constant.isupper()}


@pytest.mark.parametrize(
    "constant", sorted(constant for constant, name in USED.items() if not name.startswith("llmguard."))
)
def test_a_name_that_is_not_ours_is_of_the_conventions(constant: str) -> None:
    """Each gen_ai, server and error name is in the conventions, as an attribute, an event or a metric."""
    name = USED[constant]
    assert name in THEIRS["attributes"] or name in THEIRS["events"] or name in THEIRS["metrics"]


def test_no_name_is_used_twice() -> None:
    """Two constants never name one thing."""
    assert len(set(USED.values())) == len(USED)
