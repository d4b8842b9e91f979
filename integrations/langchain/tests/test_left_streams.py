"""Event streams of version 3 that their reader leaves: the span ends, once, however it is left."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import Guard, Guardrail, Monitor, scorer
from llmguard_middleware.testing import Flags

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
    pytest.mark.filterwarnings("ignore:The v3 streaming protocol"),
]


@pytest.fixture
def endless(fake_chat):
    """A model that says a little and is never done."""

    class Endless(fake_chat):
        async def _astream(self, messages, *args, **kwargs):
            for piece in ("Well, ", "let me ", "think. ", "So: "):
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
            await asyncio.Event().wait()

    return Endless()


async def first(stream):
    """Read until something is said."""
    async for event in stream:
        if event.get("delta", {}).get("text"):
            return


async def _with(stream):
    async with stream:
        await first(stream)


async def _closed(stream):
    await first(stream)
    await stream.aclose()
    await stream.aclose()


async def _cancelled(stream):
    said = asyncio.Event()

    async def read():
        async with stream:
            await first(stream)
            said.set()
            await asyncio.Event().wait()

    reading = asyncio.create_task(read())
    await said.wait()
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading


async def _unread(stream):
    await stream.aclose()


LEAVES = {"async with": _with, "aclose": _closed, "cancelled": _cancelled, "unread": _unread}


@pytest.mark.parametrize("how", LEAVES)
@pytest.mark.parametrize("redacts", [False, True])
@pytest.mark.parametrize("heard", [False, True])
def test_an_async_stream_that_is_left_ends_its_span_once(captured, endless, installed, how, redacts, heard):
    """Left while the model writes, the one span says that LangChain cancelled the call; no monitor sees it."""
    if not installed.event_streams:
        assert not hasattr(BaseChatModel, "stream_events")
        return
    scored = []

    @scorer
    def keep(output: str) -> bool:
        scored.append(output)
        return False

    rules = [Guardrail(Flags(when="zzz", cheap=True, reach=3), stage="output", action="redact")] if redacts else []
    guard = Guard(*rules, Monitor(keep), **captured.providers)
    model = protect(endless, guard)
    callback = GuardCallback(guard)

    async def leave():
        stream = await model.astream_events("hi", {"callbacks": [callback]} if heard else None, version="v3")
        await LEAVES[how](stream)

    asyncio.run(leave())
    gc.collect()
    spans = [(span.name, span.attributes.get("error.type")) for span in captured.spans]
    if how == "unread":  # the model may never have been asked
        assert len(spans) <= 1
    else:
        assert spans == [("chat fake-1", "asyncio.exceptions.CancelledError")]
    assert guard.flush() == 0
    assert not scored
    assert not callback._live
