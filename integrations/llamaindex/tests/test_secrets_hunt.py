"""A secret in everything that LlamaIndex's adapters are given is in no byte of what telemetry writes."""

from __future__ import annotations

import pytest
from modules_beside import module_beside

from llmguard_middleware.testing.conformance import Adapter, Hunt, hunts

LLMS, ENGINES, AGENTS = (
    module_beside(__file__, name)
    for name in ("test_conformance_llm", "test_conformance_engines", "test_conformance_agents")
)
ADAPTERS = {
    **{name: one for module in (LLMS, AGENTS) for name, one in vars(module).items() if isinstance(one, Adapter)},
    **ENGINES.FULL,
}
HUNTS = [(name, hunt) for name, adapter in ADAPTERS.items() for hunt in hunts(adapter, every=4)]


@pytest.mark.parametrize(("name", "hunt"), HUNTS, ids=[f"{name}-{hunt}" for name, hunt in HUNTS])
async def test_adapters_keep_secrets(name: str, hunt: Hunt) -> None:
    """No span, record, metric, upload, log line, warning or error output holds a part of the secret."""
    await hunt.run()
