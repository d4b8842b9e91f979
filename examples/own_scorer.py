"""A scorer of your own in both roles: a guardrail that only records, and a monitor in the background.

Run: uv run python examples/own_scorer.py
"""

from llmguard_middleware import Guard, Guardrail, Monitor, scorer


@scorer
def length(text: str, limit: int = 40) -> dict[str, object]:
    """Flag long texts."""
    return {"length": len(text), "flagged": len(text) > limit}


guard = Guard(
    Guardrail(length, stage="output", action="log"),  # shadow: record, change nothing
    Monitor(length, name="length-watch", sample=0.1),
)

print(length("called like any function"))
print(length.score("called as a scorer"))
verdict = guard.check("An answer that is somewhat longer than the limit allows.", stage="output")
print(verdict.outcome, verdict.findings[0].score)
guard.shutdown()
