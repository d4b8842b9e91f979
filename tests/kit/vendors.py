"""Stand-ins for vendors' services: local HTTP servers that speak their wire formats, and remember what they were asked.

Formats: ApplyGuardrail of bedrock-runtime 2023-09-30; OpenAI's POST /v1/moderations; Azure AI Content Safety's
text:analyze (2023-10-01) and text:shieldPrompt (2024-09-01).
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

__all__ = [
    "DROP",
    "HANG",
    "OPENAI_CATEGORIES",
    "VENDORS",
    "VIOLENCE",
    "Asked",
    "Reply",
    "StandIn",
    "Vendor",
    "azure_answer",
    "bedrock_answer",
    "openai_answer",
    "served",
    "shield_answer",
]


class Asked(NamedTuple):
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: Any


class Reply(NamedTuple):
    """What is answered: `body` is JSON, or bytes as they are."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = {}


HANG: Any = object()  # no answer until the server is closed
DROP: Any = object()  # the connection is closed without one

Answer = Callable[[Asked], Any]


class StandIn(ThreadingHTTPServer):
    """Answers each request with what `answer` says of it: a Reply, HANG or DROP, or a body."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.asked: list[Asked] = []
        self.connections: list[socket.socket] = []
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self.server_port}"

    def begin(self, answer: Answer) -> None:
        """For the next test: nothing was asked yet."""
        self.answer = answer
        self.asked.clear()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is everyday life."""

    def close(self) -> None:
        """End it, and all connections to it."""
        self.closing.set()
        self.shutdown()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for an acknowledgement of its headers
    server: StandIn

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.connection)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        asked = Asked(self.path, dict(self.headers), json.loads(raw))
        self.server.asked.append(asked)
        reply = self.server.answer(asked)
        if reply is HANG:
            self.server.closing.wait(30)
        if reply is HANG or reply is DROP:
            self.close_connection = True
            return
        reply = reply if isinstance(reply, Reply) else Reply(reply)
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""


@contextmanager
def served(answer: Answer = lambda _: DROP) -> Iterator[StandIn]:
    """A stand-in for the length of the block."""
    server = StandIn(answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


class Vendor(NamedTuple):
    """One vendor's scorer, and how its service answers.

    Attributes:
        name: what makes the scorer.
        who: the service, as sentences call it.
        options: what the scorer is made with, by its secret and the stand-in's address.
        text: the text in a request's body.
        fine: an answer that finds nothing.
        harm: an answer that flags.
        denied: how wrong credentials are told, with a text that the answer quotes.
        let_in: whether a request has this secret.
        says: what the sentence about wrong credentials ends with.
    """

    name: str
    who: str
    options: Callable[[str, str], dict[str, Any]]
    text: Callable[[Any], str]
    fine: Any
    harm: Any
    denied: Callable[[str], Reply]
    let_in: Callable[[Asked, str], bool]
    says: str


def bedrock_answer(action: str = "NONE", text: str = "", assessment: Any = None, **changes: Any) -> dict[str, Any]:
    """An answer of ApplyGuardrail."""
    usage = {
        "topicPolicyUnits": 1,
        "contentPolicyUnits": 1,
        "wordPolicyUnits": 1,
        "sensitiveInformationPolicyUnits": 1,
        "sensitiveInformationPolicyFreeUnits": 0,
        "contextualGroundingPolicyUnits": 0,
    }
    return {
        "usage": usage,
        "action": action,
        "outputs": [{"text": text}] if text else [],
        "assessments": [] if assessment is None else [assessment],
        **changes,
    }


VIOLENCE = {"contentPolicy": {"filters": [{"type": "VIOLENCE", "confidence": "HIGH", "action": "BLOCKED"}]}}

OPENAI_CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)


def openai_answer(**scores: float) -> dict[str, Any]:
    """An answer of the moderation with these scores (`_` for `-`), 0.01 for all others; flagged from 0.5 on."""
    given = {name.replace("_", "-"): score for name, score in scores.items()}
    every = {name: given.get(name, 0.01) for name in OPENAI_CATEGORIES}
    flags = {name: score >= 0.5 for name, score in every.items()}
    result = {
        "flagged": any(flags.values()),
        "categories": flags,
        "category_scores": every,
        "category_applied_input_types": {name: ["text"] for name in every},
    }
    return {"id": "modr-970d409ef3bef3b70c73d8232df86e7d", "model": "omni-moderation-2024-09-26", "results": [result]}


def azure_answer(hits: tuple[tuple[str, str], ...] = (), **severities: int) -> dict[str, Any]:
    """An answer of text:analyze with these severities, 0 for the others."""
    return {
        "blocklistsMatch": [
            {"blocklistName": name, "blocklistItemId": item, "blocklistItemText": "a word"} for name, item in hits
        ],
        "categoriesAnalysis": [
            {"category": name, "severity": severities.get(name, 0)}
            for name in ("Hate", "SelfHarm", "Sexual", "Violence")
        ],
    }


def shield_answer(*, user: bool | None = None, documents: tuple[bool, ...] = ()) -> dict[str, Any]:
    """An answer of text:shieldPrompt."""
    analysis = {"documentsAnalysis": [{"attackDetected": one} for one in documents]}
    return {"userPromptAnalysis": {"attackDetected": bool(user)}, **analysis}


def _aws(key: str, url: str) -> dict[str, Any]:
    return {
        "guardrail_id": "abc123def456",
        "version": 3,
        "bedrock_runtime_kwargs": {
            "region_name": "us-east-1",
            "endpoint_url": url,
            "aws_access_key_id": "AKIDSTANDIN",
            "aws_secret_access_key": key,
            "aws_session_token": key,
        },
    }


VENDORS = (
    Vendor(
        "bedrock_guardrail",
        "Amazon Bedrock Guardrails",
        _aws,
        lambda body: body["content"][0]["text"]["text"],
        bedrock_answer(),
        bedrock_answer("GUARDRAIL_INTERVENED", "No violence here.", VIOLENCE),
        lambda text: Reply(
            {"message": f"The security token included in the request is invalid. {text}"},
            403,
            {"x-amzn-ErrorType": "UnrecognizedClientException"},
        ),
        lambda asked, key: asked.headers["X-Amz-Security-Token"] == key,
        "HTTP 403 (UnrecognizedClientException); check AWS's credentials and their permission bedrock:ApplyGuardrail",
    ),
    Vendor(
        "openai_moderation",
        "OpenAI's moderation",
        lambda key, url: {"api_key": key, "base_url": f"{url}/v1"},
        lambda body: body["input"],
        openai_answer(),
        openai_answer(violence=0.93),
        lambda text: Reply(
            {
                "error": {
                    "message": f"Incorrect API key provided: {text}",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": "invalid_api_key",
                }
            },
            401,
        ),
        lambda asked, key: asked.headers["Authorization"] == f"Bearer {key}",
        "HTTP 401 (invalid_api_key); check api_key, model and base_url",
    ),
    Vendor(
        "azure_content_safety",
        "Azure AI Content Safety",
        lambda key, url: {"endpoint": url, "credential": key},
        lambda body: body["text"],
        azure_answer(),
        azure_answer(Violence=6),
        lambda text: Reply({"error": {"code": "401", "message": f"Access denied: {text}"}}, 401),
        lambda asked, key: asked.headers["Ocp-Apim-Subscription-Key"] == key,
        "HTTP 401; check endpoint and credential",
    ),
    Vendor(
        "azure_prompt_shield",
        "Azure AI Content Safety",
        lambda key, url: {"endpoint": url, "credential": key},
        lambda body: body["userPrompt"],
        shield_answer(user=False),
        shield_answer(user=True),
        lambda text: Reply({"error": {"code": "401", "message": f"Access denied: {text}"}}, 401),
        lambda asked, key: asked.headers["Ocp-Apim-Subscription-Key"] == key,
        "HTTP 401; check endpoint and credential",
    ),
)
