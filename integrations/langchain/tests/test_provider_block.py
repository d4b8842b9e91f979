"""provider_block(): what a provider refuses or filters is one verdict of the call, by copy and by callback."""

from __future__ import annotations

import asyncio
import json
from contextlib import nullcontext

import httpx
import openai
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import Field

from llmguard_langchain import GuardCallback, GuardMiddleware, protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Monitor, UnenforceableError
from llmguard_middleware.scorers import provider_block
from llmguard_middleware.testing import Flags, captured_telemetry

HEAD = {"id": "chatcmpl-1", "created": 1, "model": "gpt-9-0101"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
FILTERED = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"violence": {"filtered": True}}}
ERROR = {"message": "The response was filtered.", "type": None, "param": "prompt", "code": "content_filter"}
MODES = ["invoke", "ainvoke", "stream", "astream"]
LOGS = Guardrail(provider_block(), stage="output", action="log")
BLOCKS = Guardrail(provider_block(), stage="output")


class Server:
    """OpenAI's API, or Azure's: answers, refuses, filters what it answers or what it is asked."""

    def __init__(self, kind):
        self.kind, self.asked = kind, 0

    def __call__(self, request):
        """As httpx.MockTransport wants it."""
        self.asked += 1
        if self.kind == "error":
            return httpx.Response(400, json={"error": {**ERROR, "innererror": FILTERED}})
        reason = "content_filter" if self.kind == "filtered" else "stop"
        if not json.loads(request.content).get("stream"):
            said = {"role": "assistant", "content": "Take the"}
            if self.kind == "refused":
                said |= {"content": None, "refusal": "I cannot help with that."}
            choice = {"index": 0, "finish_reason": reason, "message": said}
            return httpx.Response(200, json={**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE})
        deltas = [{"role": "assistant", "content": ""}, {"content": "Take "}, {"content": "the"}]
        choices = [{"index": 0, "delta": delta} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": reason})
        chunks = [{**HEAD, "object": "chat.completion.chunk", "choices": [choice]} for choice in choices]
        chunks.append({**HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
        if self.kind == "breaks":
            chunks[2:] = [{"error": {**ERROR, "innererror": FILTERED}}]
        text = "".join(f"data: {line}\n\n" for line in (*map(json.dumps, chunks), "[DONE]"))
        return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})


def client(server):
    """LangChain's real client of that server."""
    return ChatOpenAI(
        model="gpt-9",
        base_url="http://localhost:8000/v1",
        api_key="none",
        max_retries=3,
        stream_usage=True,
        http_client=httpx.Client(transport=httpx.MockTransport(server)),
        http_async_client=httpx.AsyncClient(transport=httpx.MockTransport(server)),
    )


def asked(model, mode, **config):
    """The text of the answer in this mode."""

    async def pieces():
        return [chunk async for chunk in model.astream("How?", config)]

    if mode == "invoke":
        return model.invoke("How?", config).text
    if mode == "ainvoke":
        return asyncio.run(model.ainvoke("How?", config)).text
    chunks = list(model.stream("How?", config)) if mode == "stream" else asyncio.run(pieces())
    return "".join(chunk.text for chunk in chunks)


def told(guard, mode, **more):
    """The attributes of a call's span."""
    first = {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": pytest.approx(30, abs=30)}
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-9",
        "server.address": "localhost",
        "server.port": 8000,
        "llmguard.guard.name": "default",
        "llmguard.guard.digest": guard.digest,
        **(first if "stream" in mode else {}),
        **more,
    }


ANSWERED = {
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.response.model": "gpt-9-0101",
    "gen_ai.usage.input_tokens": 3,
    "gen_ai.usage.output_tokens": 4,
}
FLAGGED = {"llmguard.verdict": "flagged", "llmguard.flagged_by": ("provider_block",)}
BLOCKED = {"llmguard.verdict": "blocked", "llmguard.flagged_by": ("provider_block",)}


def calls(captured):
    """The spans of calls: name and attributes."""
    return [(span.name, span.attributes) for span in captured.spans if not span.name.startswith("llmguard.")]


def record(outcome, action, label):
    """What is written of the verdict."""
    return {
        "gen_ai.evaluation.name": "provider_block",
        "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.evaluation.score.label": label,
        "llmguard.guardrail.name": "provider_block",
        "llmguard.stage": "output",
        "llmguard.action": action,
        "llmguard.verdict": outcome,
    }


def only_record(captured):
    """The one evaluation result, without what each has."""
    (one,) = captured.records
    each = ("gen_ai.response.id", "llmguard.guard.name", "llmguard.guard.digest")
    return {name: value for name, value in one.attributes.items() if name not in each}


def attached(way, server, guard):
    """The model behind the guard, and what its config says."""
    if way == "protect":
        return protect(client(server), guard), {}
    return client(server), {"callbacks": [GuardCallback(guard)]}


@pytest.mark.parametrize("way", ["protect", "callback"])
@pytest.mark.parametrize("mode", MODES)
def test_a_filtered_answer_is_one_verdict(captured, way, mode):
    """Its finish reason is flagged once, and the caller gets what the provider let through."""
    guard, server = Guard(LOGS, **captured.providers), Server("filtered")
    model, config = attached(way, server, guard)
    assert asked(model, mode, **config) == "Take the"
    expected = told(guard, mode, **ANSWERED, **FLAGGED, **{"gen_ai.response.finish_reasons": ("content_filter",)})
    if "stream" in mode:
        del expected["gen_ai.response.id"]  # LangChain puts its own in its place
    assert calls(captured) == [("chat gpt-9", expected)]
    assert only_record(captured) == record("flagged", "log", "content_filter")
    counted = [point for point in captured.points if point.metric == "llmguard.guardrail.verdicts"]
    assert [(point.value, point.attributes["llmguard.verdict"]) for point in counted] == [(1, "flagged")]
    assert server.asked == 1


@pytest.mark.parametrize("way", ["protect", "callback"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rule", [LOGS, BLOCKS])
def test_an_error_of_a_policy_is_one_verdict_and_stays_that_error(captured, way, mode, rule):
    """Azure's 400 is recorded once; the caller gets the client's own exception, and nothing asks again."""
    if (way, rule) == ("callback", BLOCKS) and "stream" in mode:
        rule = LOGS  # a callback cannot block a stream
    guard, server = Guard(rule, **captured.providers), Server("error")
    model, config = attached(way, server, guard)
    with pytest.raises(openai.BadRequestError) as caught:
        asked(model, mode, **config)
    assert caught.value.code == "content_filter"
    outcome, kind = BLOCKED if rule is BLOCKS else FLAGGED, type(caught.value)  # of LangChain, in newer versions
    expected = told(guard, mode, **outcome, **{"error.type": f"{kind.__module__}.{kind.__qualname__}"})
    expected.pop("gen_ai.response.time_to_first_chunk", None)
    if way == "callback":
        expected.pop("gen_ai.request.stream", None)  # of which it hears with the first piece
    assert calls(captured) == [("chat gpt-9", expected)]
    assert only_record(captured) == record(outcome["llmguard.verdict"], rule.action, "content_filter")
    assert server.asked == 1


@pytest.mark.parametrize("way", ["protect", "callback"])
@pytest.mark.parametrize("mode", ["stream", "astream"])
def test_a_stream_that_a_policy_breaks_off_is_one_verdict(captured, way, mode):
    """The provider says so in the middle of it; the caller gets that error after the pieces before it."""
    guard, server = Guard(LOGS, **captured.providers), Server("breaks")
    model, config = attached(way, server, guard)
    with pytest.raises(openai.APIError) as caught:
        asked(model, mode, **config)
    assert caught.value.code == "content_filter"
    ((_, attributes),) = calls(captured)
    assert {name: attributes[name] for name in FLAGGED} == FLAGGED
    assert only_record(captured) == record("flagged", "log", "content_filter")
    assert server.asked == 1


@pytest.mark.parametrize("way", ["protect", "callback"])
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_a_refusal_beside_the_text_is_one_verdict(captured, way, mode):
    """OpenAI's finish reason is "stop" then."""
    guard, server = Guard(LOGS, **captured.providers), Server("refused")
    model, config = attached(way, server, guard)
    assert asked(model, mode, **config) == ""
    assert calls(captured) == [
        ("chat gpt-9", told(guard, mode, **ANSWERED, **FLAGGED, **{"gen_ai.response.finish_reasons": ("stop",)}))
    ]
    assert only_record(captured) == record("flagged", "log", "refusal")


@pytest.mark.parametrize("mode", MODES)
def test_block_takes_the_place_of_the_answer(captured, mode):
    """Nothing of a filtered answer leaves, streamed or not: a violation without a text, or the guard's refusal."""
    guard, server = Guard(BLOCKS, **captured.providers), Server("filtered")
    with pytest.raises(GuardrailViolation) as caught:
        asked(protect(client(server), guard), mode)
    assert (caught.value.code, caught.value.verdict.text) == ("blocked", "")
    (call,) = calls(captured)
    assert {name: call[1][name] for name in (*BLOCKED, "error.type")} == {**BLOCKED, "error.type": "blocked"}
    assert server.asked == 1
    refusing = Guard(BLOCKS, refusal="Ask something else.")
    assert asked(protect(client(Server("filtered")), refusing), mode) == "Ask something else."


@pytest.mark.parametrize("mode", MODES)
def test_what_the_provider_lets_pass_passes(captured, mode):
    """An ordinary answer passes, with other rules beside; a stream without a rule that blocks is not held."""
    guard = Guard(LOGS, Guardrail(Flags(when="knife"), stage="output", action="log"), **captured.providers)
    assert asked(protect(client(Server("answers")), guard), mode) == "Take the"
    ((_, attributes),) = calls(captured)
    assert attributes["llmguard.verdict"] == "passed"
    (one,) = captured.records
    assert one.attributes["llmguard.guardrail.names"] == ("flags", "provider_block")


def test_a_callback_that_cannot_block_a_stream_says_so():
    """As for every rule that blocks an answer."""
    guard = Guard(BLOCKS)
    with pytest.raises(GuardrailViolation):
        asked(client(Server("filtered")), "invoke", callbacks=[GuardCallback(guard)])
    with pytest.raises(UnenforceableError, match="put protect"):
        asked(client(Server("filtered")), "stream", callbacks=[GuardCallback(guard)])


def graph(model):
    """A graph of one step, which asks this model."""
    made = StateGraph(MessagesState)
    made.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"])]})
    return made.add_edge(START, "ask").compile()


def tool(model):
    """A tool that asks this model."""

    def ask(text: str) -> str:
        return model.invoke(text).text

    return StructuredTool.from_function(ask, description="Asks.")


AROUND = {"chain": lambda model: model | StrOutputParser(), "graph": graph, "tool": tool}
GIVEN = {"chain": "How?", "graph": {"messages": [("user", "How?")]}, "tool": {"text": "How?"}}


@pytest.mark.parametrize("kind", AROUND)
def test_what_reaches_no_model_cannot_block(kind):
    """A chain, a graph or a tool alone is refused, or warned of, and a guard that only logs is not."""
    around = AROUND[kind](client(Server("filtered")))
    with pytest.raises(UnenforceableError, match="it is about how a model's call ended, so protect the model"):
        protect(around, Guard(BLOCKS))
    with pytest.warns(UserWarning, match="it is about how a model's call ended") as warned:
        assert protect(around, Guard(BLOCKS, unenforceable="warn")).invoke(GIVEN[kind])
    assert len(warned) == 1
    assert protect(around, Guard(LOGS)).invoke(GIVEN[kind])


@pytest.mark.parametrize("kind", AROUND)
def test_what_reaches_a_model_with_the_same_guard_blocks(kind):
    """The model inside was protected first: the rule is enforced there. Another guard's model is of no help."""
    guard = Guard(BLOCKS)
    around = AROUND[kind](protect(client(Server("filtered")), guard))
    with pytest.raises(GuardrailViolation):
        protect(around, guard).invoke(GIVEN[kind])
    with pytest.raises(UnenforceableError, match="the same guard"):
        protect(around, Guard(BLOCKS))


def test_rules_that_come_later_are_refused_there_too():
    """A chain whose guard had no such rule does not take one afterwards."""
    guard = Guard()
    chain = protect(client(Server("filtered")) | StrOutputParser(), guard)
    with pytest.raises(UnenforceableError, match="how a model's call ended"):
        guard.swap(Guard(BLOCKS).policy)
    assert chain.invoke("How?") == "Take the"


@pytest.mark.parametrize("reaching", [GuardCallback, GuardMiddleware])
def test_callbacks_and_middleware_reach_models(reaching):
    """What else guards models with this guard counts as well."""
    guard = Guard(BLOCKS)
    handler = reaching(guard)
    chain = protect(client(Server("filtered")) | StrOutputParser(), guard)
    if reaching is GuardCallback:
        with pytest.raises(GuardrailViolation):
            chain.invoke("How?", {"callbacks": [handler]})


def test_other_errors_are_none_of_it(captured):
    """An error that is no policy's leaves no verdict."""
    guard = Guard(LOGS, **captured.providers)
    model = protect(client(lambda request: httpx.Response(404, json={"error": {"code": "no_model"}})), guard)
    with pytest.raises(openai.NotFoundError):
        model.invoke("How?")
    ((_, attributes),) = calls(captured)
    assert "llmguard.verdict" not in attributes
    assert captured.records == ()


def test_a_chain_and_its_model_tell_it_once(captured):
    """The call of the model has the verdict, not what is around it; a bypass has none."""
    guard = Guard(LOGS, **captured.providers)
    for kind in ("filtered", "error"):
        chain = protect(client(Server(kind)), guard) | StrOutputParser()
        config = {"callbacks": [GuardCallback(guard)]}
        with pytest.raises(openai.BadRequestError) if kind == "error" else nullcontext():
            chain.invoke("How?", config)
        with guard.bypass(reason="test"), pytest.raises(openai.BadRequestError) if kind == "error" else nullcontext():
            chain.invoke("How?", config)
    named = [one.attributes for one in captured.records if "gen_ai.evaluation.score.label" in one.attributes]
    assert [one["gen_ai.evaluation.score.label"] for one in named] == ["content_filter", "content_filter"]
    assert [(name, attributes.get("llmguard.verdict")) for name, attributes in calls(captured)] == [
        ("chat gpt-9", "flagged"),
        ("invoke_workflow RunnableSequence", None),
        ("chat gpt-9", "skipped"),
        ("invoke_workflow RunnableSequence", None),
        ("chat gpt-9", "flagged"),
        ("invoke_workflow RunnableSequence", None),
        ("chat gpt-9", None),
        ("invoke_workflow RunnableSequence", None),
    ]


class Said(BaseChatModel):
    """Answers with a message as another provider's package makes it."""

    metadata_: dict = Field(default_factory=dict)
    content: object = ""
    output: dict = Field(default_factory=dict)
    more: dict = Field(default_factory=dict)

    @property
    def _llm_type(self):
        return "said"

    def _generate(self, messages, *args, **kwargs):
        message = AIMessage(self.content, response_metadata=self.metadata_, additional_kwargs=self.more)
        return ChatResult(generations=[ChatGeneration(message=message)], llm_output=self.output)


class SaidInPieces(Said):
    """The same in two chunks, the second of which tells of the end."""

    def _stream(self, messages, *args, **kwargs):
        yield ChatGenerationChunk(message=AIMessageChunk(self.content, additional_kwargs=self.more))
        last = {**self.metadata_, **self.output}
        yield ChatGenerationChunk(message=AIMessageChunk("", response_metadata=last))


OTHERS = {
    "anthropic": ({"metadata_": {"stop_reason": "refusal"}}, "refusal"),
    "bedrock": ({"metadata_": {"stopReason": "guardrail_intervened"}, "content": "Blocked."}, "guardrail_intervened"),
    "google": ({"metadata_": {"finish_reason": "SAFETY"}}, "safety"),
    "google's prompt": ({"output": {"prompt_feedback": {"block_reason": "PROHIBITED_CONTENT"}}}, "prohibited_content"),
    "google's number": ({"output": {"prompt_feedback": {"block_reason": 2}}}, "blocked"),
    "no feedback": ({"output": {"prompt_feedback": {"block_reason": 0}}}, ""),
    "responses": ({"content": [{"type": "refusal", "refusal": "No."}]}, "refusal"),
    "responses, cut": ({"metadata_": {"incomplete_details": {"reason": "content_filter"}}}, "content_filter"),
    "responses, long": ({"metadata_": {"incomplete_details": {"reason": "max_output_tokens"}}}, ""),
    "refusal": ({"more": {"refusal": "No."}}, "refusal"),
    "stopped": ({"metadata_": {"stop_reason": "end_turn"}, "content": "Yes."}, ""),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [Said, SaidInPieces])
@pytest.mark.parametrize("given", OTHERS)
def test_the_words_of_other_providers_are_known(captured, given, kind, mode):
    """Anthropic's, Bedrock's and Google's, whole and streamed, by a guardrail that logs and one that blocks."""
    options, label = OTHERS[given]
    asked(protect(kind(**options), Guard(LOGS, **captured.providers)), mode)
    found = [one.attributes.get("gen_ai.evaluation.score.label") for one in captured.records]
    assert found == [label or "passed"]
    with captured_telemetry() as heard:
        asked(kind(**options), mode, callbacks=[GuardCallback(Guard(LOGS, **heard.providers))])
        assert [one.attributes.get("gen_ai.evaluation.score.label") for one in heard.records] == [label or "passed"]
    blocking = protect(kind(**options), Guard(BLOCKS))
    if label:
        with pytest.raises(GuardrailViolation):
            asked(blocking, mode)
    else:
        asked(blocking, mode)


class SaidTwice(Said):
    """An ordinary answer, and beside it the one that it was made with."""

    def _generate(self, messages, *args, **kwargs):
        fine = ChatGeneration(message=AIMessage("Yes.", response_metadata={"finish_reason": "stop"}))
        return ChatResult(generations=[fine, *super()._generate(messages).generations])


@pytest.mark.parametrize("given", ["anthropic", "google", "responses", "responses, cut", "refusal"])
def test_every_candidate_is_looked_at(captured, given):
    """What is refused or filtered in the second of two answers is found, by copy and by callback, and blocks both."""
    options, label = OTHERS[given]
    guard = Guard(LOGS, **captured.providers)
    protect(SaidTwice(**options), guard).generate([[HumanMessage("How?")]])
    SaidTwice(**options).generate([[HumanMessage("How?")]], callbacks=[GuardCallback(guard)])
    assert [one.attributes["gen_ai.evaluation.score.label"] for one in captured.records] == [label, label]
    said = options.get("metadata_", {})
    theirs = [said[name] for name in ("stop_reason", "finish_reason") if name in said]
    reasons = [attributes["gen_ai.response.finish_reasons"] for _, attributes in calls(captured)]
    assert reasons == [("stop", *theirs)] * 2
    with pytest.raises(GuardrailViolation):
        protect(SaidTwice(**options), Guard(BLOCKS)).generate([[HumanMessage("How?")]])


def test_a_monitor_scores_it_in_the_background(captured):
    """As any scorer, of calls that were answered."""
    guard = Guard(Monitor(provider_block()), **captured.providers)
    asked(protect(client(Server("filtered")), guard), "invoke")
    assert guard.flush(5) == 0
    (one,) = captured.records
    assert one.attributes["gen_ai.evaluation.score.label"] == "content_filter"
