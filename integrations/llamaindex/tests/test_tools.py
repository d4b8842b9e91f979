"""protect(tool): arguments and results, called directly, by agents and by models."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest
from fakes_agents import Play, Playing, made, run
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.tools import (
    AsyncBaseTool,
    BaseTool,
    FunctionTool,
    QueryEngineTool,
    ToolMetadata,
    ToolOutput,
    adapt_to_async_tool,
)
from llama_index.core.workflow import Context

from llmguard_llamaindex import attach, protect
from llmguard_middleware import ConfigurationError, Guard, Guardrail, GuardrailViolation, UnenforceableError
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing.conformance import Adapter, Mode, Scenario, Script, check_matrix, matrix, scenarios

# LlamaIndex asks every attribute of a workflow whether it is a step.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")


class Tools(Adapter):
    """A function tool, called directly."""

    name = "LlamaIndex protect(tool)"
    modes = (Mode("__call__"), Mode("call"), Mode("acall", is_async=True))
    stages = ("tool_call", "tool_result")

    def build(self, guard: Guard, script: Script) -> Any:
        """A tool that does what a script says."""

        def use(text: str) -> str:
            """Use it."""
            script.arrive("tool_call", text)
            said = script.reply(text)
            return str(script.material.get("tool_result", said))

        async def ause(text: str) -> str:
            script.arrive("tool_call", text)
            said = await script.areply(text)
            return str(script.material.get("tool_result", said))

        self.script = script
        return script, protect(FunctionTool.from_defaults(use, async_fn=ause), guard)

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same once more."""
        script, tool = subject
        return script, protect(tool, guard)

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """By name."""
        script, tool = subject
        return getattr(tool, mode.name)(text=script.material.get("tool_call", text))

    def text(self, reply: Any) -> str:
        """What it gives, which has come out."""
        self.script.arrive("tool_result", str(reply))
        return str(reply)


def _guard(stage: Any, **options: Any) -> Guard:
    return Guard(Guardrail(pii(), stage=stage, **{"action": "redact", **options}))


class Plain(BaseTool):
    """A tool that is not async."""

    @property
    def metadata(self) -> ToolMetadata:
        """What it is called."""
        return ToolMetadata(name="plain", description="Is plain.")

    def __call__(self, input: Any) -> ToolOutput:
        """Give back what it is given."""
        return ToolOutput(
            tool_name="plain", content=f"got {input}", raw_input={"input": input}, raw_output={"got": input}
        )


class Echo(CustomQueryEngine):
    """An engine that says what it is asked."""

    def custom_query(self, query_str: str) -> str:
        """As it is."""
        return f"got {query_str}"


def echo(text: str, more: list[dict[str, str]] | None = None) -> str:
    """Say it again."""
    return f"got {text} {more}"


async def _called(tool: Any, way: str, *args: Any, **kwargs: Any) -> ToolOutput:
    if way == "acall":
        output: ToolOutput = await tool.acall(*args, **kwargs)
        return output
    return getattr(tool, way)(*args, **kwargs)  # type: ignore[no-any-return]  # a tool's, whatever it is


@pytest.mark.parametrize("way", ["__call__", "call", "acall"])
@pytest.mark.parametrize("stage", ["tool_call", "tool_result"])
@pytest.mark.parametrize("kind", ["function", "engine", "plain"])
async def test_redacts(way: str, stage: Any, kind: str) -> None:
    """Arguments and results are redacted, in text and in raw output, by position and by name."""
    tools: dict[str, Any] = {
        "function": FunctionTool.from_defaults(echo),
        "engine": QueryEngineTool.from_defaults(Echo(), name="ask"),
        "plain": Plain(),
    }
    if kind == "plain" and way != "__call__":
        tools["plain"] = adapt_to_async_tool(Plain())
    original = tools[kind]
    tool = protect(original, _guard(stage))
    output = await _called(tool, way, "to c@example.com")
    assert "got to <EMAIL_ADDRESS>" in output.content
    assert "c@example.com" not in output.content + repr(output.raw_output)
    assert "c@example.com" in (await _called(original, way, "to c@example.com")).content
    assert isinstance(tool, type(original))
    assert tool.metadata is original.metadata or tool.metadata == original.metadata


@pytest.mark.parametrize("way", ["__call__", "call", "acall"])
async def test_blocks(way: str) -> None:
    """A blocked call never reaches the tool; a blocked result never reaches its caller."""
    reached: list[str] = []

    def use(text: str) -> str:
        """Use it."""
        reached.append(text)
        return "r@example.com"

    original = FunctionTool.from_defaults(use)
    with pytest.raises(GuardrailViolation):
        await _called(protect(original, _guard("tool_call", action="block")), way, text="c@example.com")
    assert not reached
    with pytest.raises(GuardrailViolation):
        await _called(protect(original, _guard("tool_result", action="block")), way, text="x")
    assert reached == ["x"]


async def test_deep_arguments() -> None:
    """Texts deep inside arguments are judged."""
    output = await protect(FunctionTool.from_defaults(echo), _guard("tool_call")).acall(
        "x", more=[{"a": "c@example.com"}]
    )
    assert output.content == "got x [{'a': '<EMAIL_ADDRESS>'}]"
    assert "example.com" not in repr(output.raw_input)


def test_copies() -> None:
    """Copies, shallow and deep, are guarded; the original is not, and its schema is the tool's."""
    original = FunctionTool.from_defaults(echo)
    tool = protect(original, _guard("tool_call"))
    for one in (tool, copy.copy(tool), copy.deepcopy(tool)):
        assert one.call(text="c@example.com").content == "got <EMAIL_ADDRESS> None"
        assert one.metadata.get_parameters_dict() == original.metadata.get_parameters_dict()
        assert one.metadata.to_openai_tool() == original.metadata.to_openai_tool()
    assert original.call(text="c@example.com").content == "got c@example.com None"
    assert isinstance(tool, FunctionTool)
    assert isinstance(tool, AsyncBaseTool)


def test_refused() -> None:
    """Rules that a tool cannot enforce are refused, and so is what is neither a model nor a tool."""
    for stage in ("input", "output", "retrieval", "embedding"):
        with pytest.raises(UnenforceableError, match=f"{stage} stage"):
            protect(FunctionTool.from_defaults(echo), _guard(stage))
    with pytest.raises(ConfigurationError):
        protect(echo, _guard("tool_call"))  # type: ignore[type-var]  # a mistake


async def test_two_guards(telemetry: Any) -> None:
    """Two guards on one tool both apply, and share its span; one twice is once."""
    one = telemetry.guard(Guardrail(pii(), stage="tool_call", action="redact"), name="one")
    two = telemetry.guard(Guardrail(pii(), stage="tool_result", action="block"), name="two")
    tool = protect(protect(FunctionTool.from_defaults(echo), one), two)
    assert protect(tool, one) is tool
    assert (await tool.acall(text="c@example.com")).content == "got <EMAIL_ADDRESS> None"
    assert telemetry.tree == [("execute_tool echo", None)]


@pytest.mark.parametrize("way", ["awaited", "streamed"])
async def test_in_agents(way: str, telemetry: Any) -> None:
    """In an agent without a guard a protected tool is guarded; under the agent's guard it has no second span."""
    play = Play([{"text": "to c@example.com"}, "fine"])

    def use(text: str) -> str:
        """Use it."""
        play.used.append(text)
        return "from r@example.com"

    guard = telemetry.guard(Guardrail(pii(), stage="tool_call", action="redact"))
    agent = FunctionAgent(
        name="helper", tools=[protect(FunctionTool.from_defaults(use), guard)], llm=Playing(play=play)
    )
    await run(agent, way, "hello")
    assert play.used == ["to <EMAIL_ADDRESS>"]
    assert telemetry.tree == [("execute_tool use", None)]
    play.asked.clear()
    await run(attach(agent, guard), way, "hello")
    assert play.used == ["to <EMAIL_ADDRESS>"] * 2
    assert [name for name, _ in telemetry.tree].count("execute_tool use") == 2


async def test_violations_in_agents() -> None:
    """A violation of a protected tool in an attached agent stops its run; LlamaIndex would tell it to the model."""
    agent = made("function", Play([{"text": "c@example.com"}, "fine"]))
    agent.tools = [protect(agent.tools[0], _guard("tool_call", action="block"))]
    attach(agent, Guard())
    with pytest.raises(GuardrailViolation):
        await agent.run("hello")


async def test_context_is_injected() -> None:
    """The workflow's context that LlamaIndex gives a tool passes as it is."""
    found: list[Any] = []

    async def use(ctx: Context, text: str) -> str:
        """Use it."""
        found.append(ctx)
        return text

    use.__annotations__["ctx"] = Context
    agent = made("function", Play([{"text": "c@example.com"}, "fine"]))
    agent.tools = [protect(FunctionTool.from_defaults(async_fn=use), _guard("tool_call"))]
    result = await agent.run("hello")
    assert isinstance(found[0], Context)
    assert result.tool_calls[0].tool_output.content == "<EMAIL_ADDRESS>"


async def test_predict_and_call() -> None:
    """A model that calls tools by itself calls protected ones through their guard."""
    play = Play([{"text": "c@example.com"}], tool="echo")
    tool = protect(FunctionTool.from_defaults(echo), _guard("tool_call"))
    response = await Playing(play=play).apredict_and_call([tool], chat_history=[ChatMessage(role="user", content="x")])
    assert "got <EMAIL_ADDRESS>" in str(response)


def test_tenants() -> None:
    """A call is judged by what was said of it where it was made."""
    guard = Guard(Guardrail(pii(), stage="tool_call", where={"tenant.id": "strict"}))
    tool = protect(FunctionTool.from_defaults(echo), guard)
    with guard.attributes(tenant__id="strict"):
        later = tool.acall(text="c@example.com")
    with pytest.raises(GuardrailViolation):
        asyncio.run(later)


TOOLS = Tools()


@pytest.mark.parametrize("scenario", scenarios(TOOLS), ids=str)
async def test_protected_tools_conform(scenario: Scenario) -> None:
    """A protected tool does what the scenario claims."""
    await scenario.run(TOOLS)


async def test_the_readme_has_the_table_of_what_is_enforced() -> None:
    """What the README says of each way to call a tool, stage and action is what was tried just now."""
    readme = Path(__file__).parents[1] / "README.md"
    check_matrix(readme, "protect(tool)", await matrix(TOOLS), "uv run pytest --no-cov -k readme integrations")


CARD, NUMBER = "4111-1111-1111-1111", 4111111111111111
FORMS = [NUMBER, float(NUMBER), [4111, 1111, 1111, 1111], [CARD[:8], CARD[8:]], {"deep": [{"card": NUMBER}]}]


@pytest.mark.parametrize("given", FORMS, ids=str)
def test_no_form_of_an_argument_hides_what_it_says(given: Any) -> None:
    """A tool gets no number that a rule of tool_call finds, whole or in pieces, and none if the rule blocks."""
    got: list[Any] = []

    def pay(card: Any) -> str:
        got.append(card)
        return "paid"

    tool = FunctionTool.from_defaults(pay)
    protect(tool, Guard(Guardrail(pii(), stage="tool_call", action="redact")))(card=given)
    assert len(got) == 1
    assert "<CREDIT_CARD>" in repr(got)
    assert "1111" not in repr(got)
    with pytest.raises(GuardrailViolation):
        protect(tool, Guard(Guardrail(pii(), stage="tool_call")))(card=given)
    assert len(got) == 1


@pytest.mark.parametrize("given", [NUMBER, {"card": NUMBER, "count": 3}], ids=str)
def test_the_raw_output_keeps_no_number_that_the_text_lost(given: Any) -> None:
    """What a tool gave as a number is judged in its raw output as in the text that the model gets."""
    tool = FunctionTool.from_defaults(lambda: given, name="look", description="Look.")
    output = protect(tool, Guard(Guardrail(pii(), stage="tool_result", action="redact")))()
    assert "4111" not in repr(output)
    assert output.raw_output == ("<CREDIT_CARD>" if given is NUMBER else {"card": "<CREDIT_CARD>", "count": 3})


@pytest.mark.parametrize("way", ["__call__", "acall"])
async def test_what_a_tool_raises_is_judged_like_its_result(way: str) -> None:
    """An agent without a guard tells its model what a protected tool raised, as the rules of tool_result leave it."""
    error = ValueError(f"no account of {CARD}")

    def look(place: str) -> str:
        raise error

    tool = FunctionTool.from_defaults(look)

    async def failed(guard: Guard) -> Exception:
        guarded: Any = protect(tool, guard)
        with pytest.raises(Exception, match=r"no account|blocked") as told:
            _ = await guarded.acall(place="x") if way == "acall" else guarded(place="x")
        return told.value

    redacted = await failed(Guard(Guardrail(pii(), stage="tool_result", action="redact")))
    assert isinstance(redacted, ValueError)
    assert str(redacted) == "no account of <CREDIT_CARD>"
    assert redacted.__context__ is None
    assert isinstance(await failed(Guard(Guardrail(pii(), stage="tool_result"))), GuardrailViolation)
    assert await failed(Guard(Guardrail(pii(), stage="tool_call"))) is error
