"""A judge by the name of its model: LiteLLM itself, in an environment of its own, before a provider of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

from ._loopback import LoopbackHandler, LoopbackServer, served

pytestmark = [pytest.mark.real, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, json
from llmguard_middleware.scorers import judge
first = judge("Is {output} right?", model="openai/gpt-4o-mini", budget={"tokens": 30, "usd": 1.0})
one = first.score(output="4 {x}")
two = asyncio.run(first.ascore(output="5"))
three = first.score(output="6")
refused = judge("Is {output} right?", model="openai/refuses").score(output="7")
spent = first.budget.spent
print(json.dumps([[s.value, s.explanation, s.metadata.get("reason")] for s in (one, two, three, refused)]))
print(spent.calls, spent.tokens, spent.usd > 0)
"""


class _Provider(LoopbackHandler):
    """OpenAI's chat completions: the second answer is malformed, no form of answer but words is taken by "refuses"."""

    def do_POST(self) -> None:
        asked = json.loads(self.whole_body())
        with self.server.lock:
            self.server.asked.append(asked)
            count = len(self.server.asked)
        if asked["model"] == "refuses" and "response_format" in asked:
            error = {"error": {"message": "response_format is not supported", "type": "invalid_request_error"}}
            self.answer(400, "application/json", json.dumps(error).encode())
            return
        said = "I'd say 3 of 5." if count == 2 else '{"reasoning": "It is so.", "score": 0.75}'
        message = {"role": "assistant", "content": said}
        answer = {
            "id": "c-1",
            "object": "chat.completion",
            "created": 1,
            "model": asked["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
        }
        self.answer(200, "application/json", json.dumps(answer).encode())


class _Server(LoopbackServer):
    def __init__(self) -> None:
        super().__init__(_Provider)
        self.asked: list[dict[str, object]] = []


def test_a_judge_asks_by_litellm() -> None:
    """Sync and async, by schema where LiteLLM says that the model takes one, counted in tokens and dollars."""
    command = [find_uv_bin(), "run", "--no-project", "--isolated", "--no-progress", "--python", sys.executable]
    command += ["--with", "litellm==1.110.2", "--with-editable", str(ROOT), "python", "-c", PROGRAM]
    with served(_Server()) as server:
        environment = {
            **os.environ,
            "OPENAI_API_KEY": "none",
            "OPENAI_API_BASE": f"{server.url}/v1",
            "OPENAI_BASE_URL": f"{server.url}/v1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it asks the network for prices
        }
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    scores, spent = done.stdout.strip().splitlines()[-2:]
    assert [(value, reason) for value, _, reason in json.loads(scores)] == [
        (0.75, None),
        (None, "no_answer"),
        (None, "budget"),
        (0.75, None),
    ]
    assert spent == "2 26 True"
    forms = [(asked["model"], (asked.get("response_format") or {}).get("type")) for asked in server.asked]
    assert forms == [
        ("gpt-4o-mini", "json_schema"),
        ("gpt-4o-mini", "json_schema"),
        ("refuses", "json_object"),
        ("refuses", None),
    ]
    assert server.asked[0]["messages"][1] == {"role": "user", "content": "Is 4 {x} right?"}
    assert server.asked[0]["temperature"] == 0
