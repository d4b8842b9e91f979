"""A secret in everything that LangChain's adapters are given is in no byte of what telemetry writes."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from modules_beside import module_beside
from openai import APIConnectionError

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.telemetry import TelemetryOptions
from llmguard_middleware.testing import Flags, captured_telemetry
from llmguard_middleware.testing.conformance import Adapter, Hunt, hunts
from llmguard_middleware.testing.conformance._hunting import written
from llmguard_middleware.testing.conformance._texts import SECRET, leaks

CALLS, AGENTS = module_beside(__file__, "test_conformance"), module_beside(__file__, "test_agent_conformance")
ADAPTERS = {
    **{name: getattr(CALLS, name) for name in vars(CALLS) if isinstance(getattr(CALLS, name), Adapter)},
    **{name: getattr(AGENTS, name) for name in vars(AGENTS) if isinstance(getattr(AGENTS, name), Adapter)},
}
HUNTS = [(name, hunt) for name, adapter in ADAPTERS.items() for hunt in hunts(adapter, every=4)]


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
@pytest.mark.parametrize(("name", "hunt"), HUNTS, ids=[f"{name}-{hunt}" for name, hunt in HUNTS])
async def test_adapters_keep_secrets(name: str, hunt: Hunt) -> None:
    """No span, record, metric, upload, log line, warning or error output holds a part of the secret."""
    await hunt.run()


@pytest.mark.parametrize("content", ["NO_CONTENT", "SPAN_AND_EVENT"])
@pytest.mark.parametrize("streamed", [True, False])
def test_keys_and_headers_of_a_provider_stay_inside(content: Any, streamed: bool) -> None:
    """A provider that cannot be reached tells of its keys, headers and address neither in spans nor in errors."""
    with captured_telemetry() as telemetry:
        rule = Guardrail(Flags(when=SECRET), stage="input", action="redact")
        guard = Guard(rule, **telemetry.providers, telemetry=TelemetryOptions(content))
        bare = ChatOpenAI(
            model="m",
            api_key=SECRET,  # type: ignore[arg-type]  # pydantic makes a SecretStr of it
            default_headers={"X-Key": SECRET},
            default_query={"key": SECRET},
            base_url=f"http://user:{SECRET}@127.0.0.1:1/{SECRET}",
            max_retries=0,
        )
        for subject in (protect(bare, guard), bare):
            config: Any = {"callbacks": [GuardCallback(guard.without([rule]))]} if subject is bare else {}
            with pytest.raises(APIConnectionError):
                _ = list(subject.stream("hi", config=config)) if streamed else subject.invoke("hi", config=config)
        assert len(telemetry.spans) == 2
        assert not leaks(written(telemetry))
