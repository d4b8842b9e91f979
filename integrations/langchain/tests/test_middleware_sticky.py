"""A violation ends the run, whatever is around the call that it stopped."""

from __future__ import annotations

import langchain.agents.middleware as library
import pytest
from langchain.agents.middleware import AgentMiddleware, ModelFallbackMiddleware
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from llmguard_langchain import GuardMiddleware, protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, UnenforceableError
from llmguard_middleware.testing import Flags

STAGES = ("input", "output", "tool_call", "tool_result")


class _Swallows(AgentMiddleware):
    """Answers in the place of whatever is raised below it."""

    def wrap_model_call(self, request, handler):
        try:
            return handler(request)
        except Exception:  # noqa: BLE001 - whatever it is
            return AIMessage("never mind")

    async def awrap_model_call(self, request, handler):
        try:
            return await handler(request)
        except Exception:  # noqa: BLE001 - whatever it is
            return AIMessage("never mind")

    def wrap_tool_call(self, request, handler):
        try:
            return handler(request)
        except Exception:  # noqa: BLE001 - whatever it is
            return ToolMessage("never mind", tool_call_id=request.tool_call["id"])

    async def awrap_tool_call(self, request, handler):
        try:
            return await handler(request)
        except Exception:  # noqa: BLE001 - whatever it is
            return ToolMessage("never mind", tool_call_id=request.tool_call["id"])


class _Again(AgentMiddleware):
    """Does everything twice."""

    def wrap_model_call(self, request, handler):
        handler(request)
        return handler(request)

    async def awrap_model_call(self, request, handler):
        await handler(request)
        return await handler(request)

    def wrap_tool_call(self, request, handler):
        handler(request)
        return handler(request)

    async def awrap_tool_call(self, request, handler):
        await handler(request)
        return await handler(request)


def _retries(name):
    kind = getattr(library, name, None)  # LangChain 1.0 has not all of them
    return [] if kind is None else [kind(max_retries=1, initial_delay=0, on_failure="continue")]


AROUND = {
    "nothing": list,
    "a middleware that swallows": lambda: [_Swallows()],
    "a middleware that calls twice": lambda: [_Again()],
    "retries of models": lambda: _retries("ModelRetryMiddleware"),
    "retries of tools": lambda: _retries("ToolRetryMiddleware"),
    "errors of tools as answers": lambda: [
        kind(on_error=lambda error, request: "never mind")
        for name in ("ToolErrorMiddleware",)
        if (kind := getattr(library, name, None))
    ],
}


def blocking(stage):
    """A guard that blocks what says "wrong" at this stage."""
    return Guard(Guardrail(Flags(when="wrong"), stage=stage))


def said(stage, at):
    """A wrong text at this stage, a good one at all others."""
    return "wrong" if stage == at else "good"


@pytest.mark.parametrize("first", [True, False], ids=["guard first", "guard last"])
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("stage", STAGES)
def test_nothing_gets_away_with_a_violation(make_agent, tool_calls, whole_mode, stage, around, first):
    """What stops a call stops the run: no model and no tool is called any more, and the run raises it."""
    others, guard = AROUND[around](), GuardMiddleware(blocking(stage))
    agent = make_agent(
        tool_calls({"who": said(stage, "tool_call")}),
        said(stage, "output"),
        result=said(stage, "tool_result"),
        middleware=[guard, *others] if first else [*others, guard],
    )
    with pytest.raises(GuardrailViolation) as raised:
        agent.ask(said(stage, "input"), whole_mode)
    assert raised.value.verdict.stage == stage
    assert "wrong" not in agent.shown
    if around != "a middleware that calls twice":
        assert len(agent.model.received) == {"input": 0, "output": 2, "tool_call": 1, "tool_result": 1}[stage]
        assert len(agent.looked_up) == {"input": 0, "tool_call": 0}.get(stage, 1)


def test_a_fallback_model_is_not_asked(make_agent, whole_mode):
    """After a violation no fallback answers."""
    fallback = make_agent("wrong too").model
    agent = make_agent("wrong", middleware=[ModelFallbackMiddleware(fallback), GuardMiddleware(blocking("output"))])
    with pytest.raises(GuardrailViolation):
        agent.ask("hi", whole_mode)
    assert fallback.received == []


def test_a_fallback_model_is_guarded(make_agent, whole_mode):
    """A fallback that answers for a model that failed is guarded as that was."""

    class Fails(AgentMiddleware):
        def wrap_model_call(self, request, handler):
            if request.model is agent.model:
                raise ConnectionError
            return handler(request)

        async def awrap_model_call(self, request, handler):
            return self.wrap_model_call(request, handler) if request.model is agent.model else await handler(request)

    fallback = make_agent("wrong").model
    middleware = [ModelFallbackMiddleware(fallback), Fails(), GuardMiddleware(blocking("output"))]
    agent = make_agent("fine", middleware=middleware)
    with pytest.raises(GuardrailViolation):
        agent.ask("hi", whole_mode)
    assert len(fallback.received) == 1


class _Swaps(AgentMiddleware):
    """Calls another model."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def wrap_model_call(self, request, handler):
        return handler(request.override(model=self.model))

    async def awrap_model_call(self, request, handler):
        return await handler(request.override(model=self.model))


def test_a_model_swapped_before_the_guard_is_guarded(make_agent, whole_mode):
    """The guard goes around the model that another middleware chose."""
    guard = blocking("output")
    agent = make_agent("good", middleware=[_Swaps(make_agent("wrong").model), GuardMiddleware(guard)])
    with pytest.raises(GuardrailViolation):
        agent.ask("hi", whole_mode)


def test_a_model_swapped_behind_the_guard_is_guarded(make_agent, whole_mode):
    """The guard also goes around a model that another middleware puts in behind it, and only once."""
    guard = blocking("output")
    for other in (make_agent("wrong").model, protect(make_agent("wrong").model, guard)):
        agent = make_agent("good", middleware=[GuardMiddleware(guard), _Swaps(other)])
        with pytest.raises(GuardrailViolation):
            agent.ask("hi", whole_mode)
        assert len(other.received) == 1
        assert agent.model.received == []


def test_a_model_of_another_middleware_is_refused(make_agent, whole_mode):
    """A model that a middleware behind the guard asks of its own accord is not called; the error says what to do."""

    class Asks(AgentMiddleware):
        def wrap_model_call(self, request, handler):
            other.invoke(request.messages)
            return handler(request)

        async def awrap_model_call(self, request, handler):
            await other.ainvoke(request.messages)
            return await handler(request)

    other, guard = make_agent("hm").model, blocking("output")
    agent = make_agent("good", middleware=[GuardMiddleware(guard), Asks()])
    with pytest.raises(UnenforceableError, match=r"put GuardMiddleware last in middleware="):
        agent.ask("hi", whole_mode)
    assert other.received == agent.model.received == []
    other = protect(other, guard)
    assert agent.ask("hi", whole_mode)["messages"][-1].content == "good"


class _Edits(AgentMiddleware):
    """Calls another tool, with other arguments."""

    def __init__(self, **overrides):
        super().__init__()
        self.overrides = overrides

    def _edited(self, request):
        tool_call = {**request.tool_call, "args": {"who": "wrong"}}
        return request.override(tool_call=tool_call, **self.overrides)

    def wrap_tool_call(self, request, handler):
        return handler(self._edited(request))

    async def awrap_tool_call(self, request, handler):
        return await handler(self._edited(request))


@pytest.mark.parametrize("swapped", [False, True], ids=["same tool", "other tool"])
@pytest.mark.parametrize("first", [True, False], ids=["guard first", "guard last"])
def test_arguments_that_a_middleware_changes_are_judged(make_agent, tool_calls, whole_mode, first, swapped):
    """What the tool would get is judged, whichever middleware wrote it, and whichever tool it is."""

    @tool
    def lookup(who: str) -> str:
        """Another one."""
        called.append(who)
        return who

    called = []
    middleware = [GuardMiddleware(blocking("tool_call")), _Edits(**({"tool": lookup} if swapped else {}))]
    agent = make_agent(tool_calls({"who": "x"}), "good", middleware=middleware if first else middleware[::-1])
    with pytest.raises(GuardrailViolation):
        agent.ask("hi", whole_mode)
    assert called == agent.looked_up == []


def test_a_violation_in_an_agent_that_is_a_tool_ends_the_outer_run(make_agent, tool_calls, whole_mode):
    """What stops an inner agent stops the outer one, though its tool swallows the error."""
    guard = blocking("input")
    inner = make_agent("good", middleware=[GuardMiddleware(guard)])

    @tool
    def delegate(task: str) -> str:
        """Delegate."""
        try:
            inner.ask(task)
        except GuardrailViolation:
            return "all is well"
        return "done"

    call = AIMessage("", tool_calls=[{"name": "delegate", "args": {"task": "wrong"}, "id": "1"}])
    agent = make_agent(call, "good", tools=[delegate], middleware=[GuardMiddleware(guard)])
    with pytest.raises(GuardrailViolation):
        agent.ask("hi", whole_mode)
    assert len(agent.model.received) == 1
    assert inner.model.received == []


def test_a_violation_of_a_protected_model_in_a_tool_ends_the_run(make_agent, tool_calls):
    """A model under another guard that a tool asks, and whose violation the tool swallows, ends the run too."""
    asked = protect(make_agent("wrong").model, Guard(Guardrail(Flags(when="wrong"), stage="output"), name="other"))

    @tool
    def consult(question: str) -> str:
        """Ask somebody."""
        return RunnableLambda(lambda _: asked.invoke(question)).with_fallbacks([RunnableLambda(str)]).invoke("x")

    call = AIMessage("", tool_calls=[{"name": "consult", "args": {"question": "hm"}, "id": "1"}])
    agent = make_agent(call, "good", tools=[consult], middleware=[GuardMiddleware(Guard())])
    with pytest.raises(GuardrailViolation):
        agent.ask("hi")
    assert len(agent.model.received) == 1


def test_a_tool_node_that_handles_errors_never_sees_a_violation(make_agent, tool_calls):
    """A ToolNode that makes answers of errors has none to make: the wrapped call ends with a stand-in."""
    middleware, seen = GuardMiddleware(blocking("tool_call")), []

    def handled(error: Exception) -> str:
        seen.append(error)
        return "handled"

    agent = make_agent(tool_calls({"who": "wrong"}), "good", middleware=[middleware])
    node = type(agent.graph.nodes["tools"].bound)(
        [agent.graph.nodes["tools"].bound.tools_by_name["lookup"]],
        handle_tool_errors=handled,
        wrap_tool_call=middleware.wrap_tool_call,
    )
    agent.graph.nodes["tools"].bound = node
    with pytest.raises(GuardrailViolation):
        agent.ask("hi")
    assert seen == []


def test_parallel_tools_raise_once(make_agent, tool_calls, whole_mode):
    """Of tools that are called at once, one may be stopped: the run ends with that."""
    agent = make_agent(
        tool_calls({"who": "good"}, {"who": "wrong"}, {"who": "wrong one"}),
        "good",
        middleware=[GuardMiddleware(blocking("tool_call"))],
    )
    with pytest.raises(GuardrailViolation):
        agent.ask("hi", whole_mode)
    assert agent.looked_up in ([], ["good"])


def test_runs_of_one_agent_do_not_share_a_violation(make_agent, whole_mode):
    """A violation ends its run, and the next run of the same agent starts with none."""
    agent = make_agent("good", middleware=[GuardMiddleware(blocking("input"))])
    with pytest.raises(GuardrailViolation):
        agent.ask("wrong", whole_mode)
    assert agent.ask("hi", whole_mode)["messages"][-1].content == "good"
