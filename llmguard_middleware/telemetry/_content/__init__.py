"""Content capture: messages, arguments, results and documents as plain values, cut to size, on spans or elsewhere.

What is captured is what the guardrails let pass: what a model, a tool or a reader was given, with placeholders where
pseudonyms stand, and with nothing that a guardrail took out anywhere in the same run until its span ended. A text for
which there are rules that act, and which they did not judge, or failed to judge (`on_error="allow"`, a bypass, images,
a chain that a callback only watches), is not captured; nor is the result of a tool or a document if only rules for
what goes to the model would have looked at it; nor is an answer that a guard further out may yet act on by rules which
have not looked at it. A call that was stopped is not captured, nor is what lies around it.
"""

from ._capture import Capture
from ._clearance import Clearance, fails_to_judge
from ._content import Content
from ._ledger import Ledger, ledger_in
from ._parts import blob, file, message, output, reasoning, text, tool_call, tool_call_response, uri

__all__ = [
    "Capture",
    "Clearance",
    "Content",
    "Ledger",
    "blob",
    "fails_to_judge",
    "file",
    "ledger_in",
    "message",
    "output",
    "reasoning",
    "text",
    "tool_call",
    "tool_call_response",
    "uri",
]
