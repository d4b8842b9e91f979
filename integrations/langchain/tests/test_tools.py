"""Protected tools: arguments before the tool has them, results before anyone has them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, InjectedToolArg, InjectedToolCallId, StructuredTool, ToolException, tool
from langgraph.types import Command
from pydantic import BaseModel, Field, ValidationError

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Monitor, UnenforceableError, scorer
from llmguard_middleware.testing import Flags

SECRET = "QXZWKVJY"
ARGUMENTS = Guardrail(Flags(when=SECRET, name="arguments"), stage="tool_call", action="redact")
RESULT = Guardrail(Flags(when=SECRET, name="result"), stage="tool_result", action="redact")
BLOCKS = Guardrail(Flags(when=SECRET, name="blocks"), stage="tool_result")


class Order(BaseModel):
    """An order."""

    who: str
    items: list[str]
    count: int = 1


def call(**args):
    """As a model calls a tool."""
    return {"name": "order", "args": args, "id": "1", "type": "tool_call"}


@pytest.fixture(params=["invoke", "ainvoke", "batch", "abatch", "stream", "astream", "run", "arun"])
def use(request):
    """Use a tool in each way."""

    async def aused(subject, given, config):
        if request.param == "ainvoke":
            return await subject.ainvoke(given, config)
        if request.param == "abatch":
            return (await subject.abatch([given], config))[0]
        if request.param == "arun":
            return await subject.arun(_args(given), tool_call_id=_id(given), **config)
        (item,) = [item async for item in subject.astream(given, config)]
        return item

    def used(subject, given, config=None):
        config = config or {}
        if request.param.startswith("a"):
            return asyncio.run(aused(subject, given, config))
        if request.param == "run":
            return subject.run(_args(given), tool_call_id=_id(given), **config)
        if request.param == "batch":
            return subject.batch([given], config)[0]
        return subject.invoke(given, config) if request.param == "invoke" else next(subject.stream(given, config))

    return used


def _args(given):
    return dict(given["args"]) if isinstance(given, dict) and given.get("type") == "tool_call" else given


def _id(given):
    return given["id"] if isinstance(given, dict) and given.get("type") == "tool_call" else None


def tools(received):
    """One tool of each kind, which remembers what it was given and repeats it."""

    def order(who: str, items: list[str], count: int = 1) -> str:
        """Orders."""
        received.append((who, items, count))
        return f"{count} for {SECRET}"

    async def aorder(who: str, items: list[str], count: int = 1) -> str:
        """Orders."""
        return order(who, items, count)

    class Orders(BaseTool):
        name: str = "order"
        description: str = "Orders."
        args_schema: Any = Order

        def _run(self, who: str, items: list[str], count: int = 1, run_manager: Any = None) -> str:
            assert run_manager is not None
            return order(who, items, count)

    return {
        "decorated": tool(order),
        "structured": StructuredTool.from_function(order, aorder, args_schema=Order),
        "async": StructuredTool.from_function(None, aorder, name="order"),
        "class": Orders(),
    }


@pytest.mark.parametrize("kind", list(tools([])))
def test_arguments_and_results_are_redacted_however_a_tool_is_used(use, kind, request):
    """String leaves of the arguments are edited in a copy and validated; what the tool gives is edited, too."""
    received = []
    subject = tools(received)[kind]
    guarded = protect(subject, Guard(ARGUMENTS, RESULT))
    assert isinstance(guarded, type(subject))
    given = call(who=SECRET, items=["a", f"b {SECRET}"], count="2")
    if kind == "async" and request.node.callspec.params["use"][0] != "a":
        with pytest.raises(NotImplementedError):
            use(guarded, given)
        return
    message = use(guarded, given)
    assert received == [("<FAKE>", ["a", "b <FAKE>"], 2)]
    assert (message.content, message.tool_call_id, message.status) == ("2 for <FAKE>", "1", "success")
    assert given["args"] == {"who": SECRET, "items": ["a", f"b {SECRET}"], "count": "2"}


def test_what_is_edited_is_validated_again(use):
    """Arguments that are valid no more after an edit are the tool's own validation error."""

    class Strict(BaseModel):
        code: str = Field(pattern="^[A-Z]+$")

    guarded = protect(
        StructuredTool.from_function(lambda code: code, name="a", description="b", args_schema=Strict), Guard(ARGUMENTS)
    )
    assert use(guarded, {"code": "ABC"}) == "ABC"
    with pytest.raises(ValidationError):
        use(guarded, {"code": SECRET})


@pytest.mark.parametrize("stage", ["tool_call", "tool_result"])
def test_a_block_stops_the_tool(use, stage):
    """A blocked argument does not reach the tool, a blocked result not its caller."""
    received = []
    guarded = protect(tools(received)["decorated"], Guard(Guardrail(Flags(when=SECRET), stage=stage)))
    with pytest.raises(GuardrailViolation):
        use(guarded, call(who=SECRET, items=[]))
    assert len(received) == (0 if stage == "tool_call" else 1)


def results():
    """Tools whose results have each shape that LangChain knows."""

    @tool
    def message(tool_call_id: Annotated[str, InjectedToolCallId]) -> Any:
        """A message."""
        return ToolMessage(f"say {SECRET}", tool_call_id=tool_call_id, artifact={"raw": [SECRET]})

    @tool(response_format="content_and_artifact")
    def artifact() -> Any:
        """Content and an artifact."""
        return f"say {SECRET}", {"raw": [SECRET]}

    @tool
    def command(tool_call_id: Annotated[str, InjectedToolCallId]) -> Any:
        """A command."""
        said = ToolMessage(f"say {SECRET}", tool_call_id=tool_call_id)
        return Command(update={"messages": [said], "notes": SECRET})

    @tool
    def blocks() -> Any:
        """Blocks of content, with the secret over two of them."""
        return [{"type": "text", "text": f"say {SECRET[:3]}"}, {"type": "text", "text": SECRET[3:]}]

    @tool
    def mapping() -> Any:
        """Something that becomes JSON."""
        return {"say": SECRET, "number": 1}

    def fails() -> str:
        """Fails with a message for the model."""
        raise ToolException(f"no {SECRET}")

    handled = StructuredTool.from_function(fails, handle_tool_error=True)
    return {one.name: one for one in (message, artifact, command, blocks, mapping, handled)}


@pytest.mark.parametrize("shape", list(results()))
def test_every_shape_of_result_is_redacted(use, shape):
    """Messages, artifacts, commands, blocks, JSON and handled errors: nothing of the secret leaves, or is told."""
    told = []

    class Listens(BaseCallbackHandler):
        def on_tool_end(self, output: Any, **kwargs: Any) -> None:
            told.append(output)

    guarded = protect(results()[shape], Guard(RESULT))
    given = {"name": shape, "args": {}, "id": "1", "type": "tool_call"}
    result = use(guarded, given, {"callbacks": [Listens()]})
    assert SECRET not in repr(result)
    assert SECRET[3:] not in repr(result)
    assert "<FAKE>" in repr(result)
    assert told == [result]
    if shape == "artifact":
        assert (result.content, result.artifact) == ("say <FAKE>", {"raw": ["<FAKE>"]})
    if shape == "fails":
        assert (result.content, result.status) == ("no <FAKE>", "error")


def test_an_artifact_that_nobody_can_look_into_is_refused(use):
    """Where a rule for results acts, an opaque artifact is an error that says what to do."""

    @tool(response_format="content_and_artifact")
    def opaque() -> Any:
        """An object."""
        return "fine", object()

    given = {"name": "opaque", "args": {}, "id": "1", "type": "tool_call"}
    with pytest.raises(UnenforceableError, match=r'protect\(tool\) "opaque", whose result holds a object that nobody'):
        use(protect(opaque, Guard(BLOCKS)), given)
    assert use(protect(opaque, Guard(ARGUMENTS)), given).content == "fine"


def test_what_langchain_injects_is_not_judged(use):
    """Injected arguments reach the tool as they are."""
    state = {"text": SECRET}

    @tool
    def looks(at: str, state: Annotated[dict, InjectedToolArg]) -> str:
        """Looks."""
        return "same" if state["text"] == SECRET else "changed"

    scored = Flags(when=SECRET, name="arguments")
    guarded = protect(looks, Guard(Guardrail(scored, stage="tool_call", action="redact")))
    assert use(guarded, {"at": "here", "state": state}) == "same"
    assert scored.seen == ["here"]


@pytest.mark.parametrize("with_callback", ["none", "own", "other"])
def test_a_use_is_one_span_and_scored_once(use, captured, with_callback):
    """One execute_tool span for each use, whatever callback is there; the guard's monitor scores it once."""
    seen = []

    @scorer
    def watch(output: str, who: str) -> float:
        seen.append((who, output))
        return 1.0

    guard = Guard(ARGUMENTS, RESULT, Monitor(watch), **captured.providers)
    guarded = protect(tools([])["decorated"], guard)
    callbacks = {
        "none": [],
        "own": [GuardCallback(guard)],
        "other": [GuardCallback(Guard(name="o", **captured.providers))],
    }
    use(guarded, call(who=SECRET, items=[]), {"callbacks": callbacks[with_callback]})
    assert guard.flush() == 0
    assert seen == [("<FAKE>", "1 for <FAKE>")]
    (span,) = (span for span in captured.spans if not span.name.startswith("llmguard"))
    assert (span.name, span.attributes["gen_ai.tool.call.id"]) == ("execute_tool order", "1")


def test_in_refusal_mode_a_tool_answers(use):
    """A stopped use answers with the refusal, as a message where a model has called."""
    guarded = protect(tools([])["decorated"], Guard(BLOCKS, refusal="No."))
    message = use(guarded, call(who="a", items=[]))
    assert (message.content, message.tool_call_id) == ("No.", "1")
    assert use(guarded, {"who": "a", "items": []}) == "No."


def test_other_stages_are_refused():
    """A tool reaches its arguments and its result."""
    stages: list[Literal["input", "output", "retrieval"]] = ["input", "output", "retrieval"]
    for stage in stages:
        with pytest.raises(UnenforceableError, match=r"protect\(tool\) cannot enforce"):
            protect(tools([])["class"], Guard(Guardrail(Flags(), stage=stage)))


def test_a_callback_leaves_rules_for_tools_to_the_tools(fake_chat):
    """A model that is called with the callback of a guard whose edits are for tools is not refused."""
    guard = Guard(RESULT)
    guarded = protect(tools([])["decorated"], guard)
    config: Any = {"callbacks": [GuardCallback(guard)]}
    assert fake_chat().invoke("Hi", config).content == "Hello."
    assert guarded.invoke(call(who="a", items=[]), config).content == "1 for <FAKE>"
    with pytest.raises(UnenforceableError, match=r"GuardCallback at order cannot enforce"):
        tools([])["decorated"].invoke(call(who="a", items=[]), config)
