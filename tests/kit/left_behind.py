"""No test leaves an OpenTelemetry context behind: spans of later ones would lie below a call that is over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import context as otel
from opentelemetry.context import Context


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Fail the test that did; the next one begins as it should."""
    yield
    if left := otel.get_current():
        otel.attach(Context())
        pytest.fail(f"{item.name} left a context behind: {dict(left)}", pytrace=False)
