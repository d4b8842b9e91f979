"""pii() with allow-lists: a firm's own addresses pass, however they are typed, and nobody else's do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.scorers import pii

FIRM: list[Any] = ["support@firm.com", "1588-1234", "02-345-6789", re.compile(r"(?i)[a-z.]+@team\.firm\.com")]
OWN = [
    "support@firm.com",
    "Support@Firm.COM",
    "\uff53upport@firm.com",
    "sup\u200bport@firm.com",
    "support\uff20firm\uff0ecom",
    "02-345-6789",
    "\uff10\uff12-345-6789",
    "ann.lee@team.firm.com",
    "ann\u2060.lee@team.firm.com",
]
OTHERS = [
    ("support@firm.com.evil.org", "<EMAIL_ADDRESS>"),
    ("xsupport@firm.com", "<EMAIL_ADDRESS>"),
    ("support@firm.co", "<EMAIL_ADDRESS>"),
    ("ann@team.firm.com.evil.org", "<EMAIL_ADDRESS>"),
    ("s\u0443pport@firm.com", "s\u0443<EMAIL_ADDRESS>"),  # a Cyrillic letter, which no address has
    ("02-345-6788", "<PHONE_NUMBER>"),
]
GUARD = Guard(Guardrail(pii(), stage="output", action="redact", allow=FIRM))


@pytest.mark.parametrize("text", OWN)
@pytest.mark.parametrize("sentence", ["Write to {}.", "주소는 {}입니다", "{}"])
def test_a_firms_own_address_passes(text: str, sentence: str) -> None:
    """By value or by pattern, in other letters, full-width or with what nobody sees; another's beside it does not."""
    whole = sentence.format(text) + " a@b.co"
    assert GUARD.check(whole, stage="output").guarded == sentence.format(text) + " <EMAIL_ADDRESS>"


@pytest.mark.parametrize(("text", "expected"), OTHERS)
def test_what_only_resembles_it_does_not(text: str, expected: str) -> None:
    """A longer, shorter or look-alike address is not the firm's."""
    assert GUARD.check(f"To {text}!", stage="output").guarded == f"To {expected}!"


@pytest.mark.parametrize("size", [1, 3, 7])
def test_streams_allow_the_same(size: int) -> None:
    """However the answer is cut."""
    text = "".join(f"to {one}, not x@y.kr; " for one in OWN)

    @GUARD.op
    def stream() -> Iterator[str]:
        """In pieces of this size."""
        yield from (text[at : at + size] for at in range(0, len(text), size))

    assert "".join(stream()) == GUARD.check(text, stage="output").guarded == text.replace("x@y.kr", "<EMAIL_ADDRESS>")


def test_each_tenant_has_its_own() -> None:
    """What one allows is redacted for the others, and what all allow passes."""
    rule = {"name": "pii", "scorer": "pii", "stage": "input", "action": "redact", "allow": ["all@firm.com"]}
    own = {"override": {"pii": {"allow": ["all@firm.com", {"pattern": r".*@acme\.com"}]}}}
    guard = Guard.from_config(
        {"guardrails": [rule], "tenants": {"attribute": "tenant.id", "acme": own, "beta": {}}}, environ={}
    )
    text = "all@firm.com x@acme.com"
    assert guard.check(text, stage="input", attributes={"tenant.id": "acme"}).guarded == text
    for tenant in ({"tenant.id": "beta"}, {}):
        assert guard.check(text, stage="input", attributes=tenant).guarded == "all@firm.com <EMAIL_ADDRESS>"
