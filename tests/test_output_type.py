"""What kind of answer a call asks for."""

from __future__ import annotations

from typing import Any

import pytest

from llmguard_middleware import Call, Guard
from llmguard_middleware._flow import Flow
from llmguard_middleware.telemetry._output_type import output_type
from llmguard_middleware.testing import CapturedTelemetry


class Wanted:
    """What an answer is to be made into."""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ""),
        ({"response_format": None}, ""),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "json"),
        ({"response_format": {"type": "json_object"}}, "json"),
        ({"response_format": {"type": "text"}}, "text"),
        ({"response_format": "text"}, "text"),
        ({"response_format": {"type": "grammar"}}, ""),
        ({"response_format": {"type": 3}}, ""),
        ({"response_format": Wanted}, "json"),
        ({"response_format": Wanted()}, ""),
        ({"response_mime_type": "application/json"}, "json"),
        ({"response_mime_type": "text/plain"}, "text"),
        ({"response_mime_type": "text/x.enum"}, ""),
        ({"format": "json"}, "json"),
        ({"format": {"type": "object"}}, "json"),
        ({"format": ""}, ""),
        ({"format": {}}, ""),
    ],
)
def test_it_is_read_as_providers_spell_it(given: dict[str, Any], expected: str) -> None:
    """JSON where a format or a class is asked for, text where that is asked for, and nothing else is guessed."""
    assert output_type(given) == expected


def test_it_is_on_the_span(telemetry: CapturedTelemetry) -> None:
    """As gen_ai.output.type."""
    Flow(Guard(**telemetry.providers), Call("chat", settings={"output_type": "json"})).answered(output="{}")
    assert telemetry.span("chat").attributes["gen_ai.output.type"] == "json"
