"""What GuardMiddleware enforces, in every way to call an agent: each stage, blocked, redacted or replaced."""

from __future__ import annotations

import pytest

from llmguard_langchain import GuardMiddleware
from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware.scorers import pii

USER, ARGUMENT, RESULT, ANSWER = "amy@example.com", "carl@example.com", "bob@example.com", "dora@example.com"
INSTEAD = {"redact": "<EMAIL_ADDRESS>", "replace": "[removed]"}


@pytest.fixture
def ask(make_agent, tool_calls, agent_mode):
    """An agent that meets an address at every stage, asked once."""

    def asked(stage, action, *, violates=False):
        guard = Guard(Guardrail(pii(), stage=stage, action=action))
        agent = make_agent(
            tool_calls({"who": ARGUMENT}), f"It is {ANSWER}.", result=RESULT, middleware=[GuardMiddleware(guard)]
        )
        if violates:
            with pytest.raises(GuardrailViolation) as raised:
                agent.ask(f"I am {USER}.", agent_mode)
            assert raised.value.verdict.stage == stage
        else:
            agent.ask(f"I am {USER}.", agent_mode)
        return agent

    return asked


@pytest.mark.parametrize("action", INSTEAD)
def test_the_model_gets_no_address(ask, action):
    """What an input rule edits reaches no model, in any mode."""
    agent = ask("input", action)
    assert USER not in agent.received
    assert RESULT not in agent.received
    assert INSTEAD[action] in agent.received


@pytest.mark.parametrize("action", INSTEAD)
def test_the_caller_gets_no_address(ask, action):
    """What an output rule edits is seen by nobody, in any mode, though it is streamed one character at a time."""
    agent = ask("output", action)
    assert ANSWER not in agent.shown
    assert len(agent.model.received) == 2


@pytest.mark.parametrize("action", INSTEAD)
def test_the_tool_gets_no_address(ask, action):
    """What a tool_call rule edits does not reach the tool."""
    assert ask("tool_call", action).looked_up == [INSTEAD[action]]


@pytest.mark.parametrize("action", INSTEAD)
def test_a_result_has_no_address(ask, action):
    """What a tool_result rule edits reaches neither the model nor whoever looks on, however it is streamed."""
    agent = ask("tool_result", action)
    assert RESULT not in agent.received
    assert INSTEAD[action] in agent.received
    assert RESULT not in agent.shown


def test_a_blocked_question_reaches_no_model(ask):
    """An input rule that blocks stops the run before the model is called."""
    assert ask("input", "block", violates=True).model.received == []


def test_a_blocked_answer_is_not_seen(ask):
    """An output rule that blocks stops the run before anything of the answer is seen."""
    agent = ask("output", "block", violates=True)
    assert ANSWER not in agent.shown
    assert "It is" not in agent.shown


def test_a_blocked_tool_call_is_not_made(ask):
    """A tool_call rule that blocks stops the run before the tool is called, and before the model is asked again."""
    agent = ask("tool_call", "block", violates=True)
    assert agent.looked_up == []
    assert len(agent.model.received) == 1


def test_a_blocked_result_goes_nowhere(ask):
    """A tool_result rule that blocks stops the run before anybody has the result."""
    agent = ask("tool_result", "block", violates=True)
    assert RESULT not in agent.shown
    assert len(agent.model.received) == 1


def test_a_logged_address_passes(ask):
    """A shadow rule changes nothing, in any mode."""
    agent = ask("output", "log")
    assert agent.looked_up == [ARGUMENT]
    assert len(agent.model.received) == 2
