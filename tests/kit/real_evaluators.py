"""A program for an environment with DeepEval and Phoenix: their own evaluators as scorers, with sockets blocked.

Prints a pickle: by name, the scores; what of the network was tried; how many spans were written.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
import warnings
from typing import Any

TRIED: list[str] = []


def block(event: str, _: Any) -> None:
    """Let nothing through to the network."""
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        TRIED.append(event)
        raise OSError(event)


sys.addaudithook(block)
warnings.simplefilter("ignore")

from deepeval.metrics import AnswerRelevancyMetric, ExactMatchMetric, GEval, HallucinationMetric  # noqa: E402
from deepeval.models import DeepEvalBaseLLM  # noqa: E402
from deepeval.test_case import SingleTurnParams  # noqa: E402
from opentelemetry import trace  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402
from phoenix.evals import create_evaluator  # noqa: E402
from phoenix.evals.metrics import FaithfulnessEvaluator, MatchesRegex, PrecisionRecallFScore  # noqa: E402

from llmguard_middleware import Guard, Guardrail  # noqa: E402
from llmguard_middleware.scorers import evaluator, from_deepeval  # noqa: E402


class Model(DeepEvalBaseLLM):
    """Answers as a judge would, and fails where it is not known what to answer."""

    def load_model(self) -> Any:
        """Return itself."""
        return self

    def get_model_name(self) -> str:
        """Its name."""
        return "stand-in"

    def generate(self, prompt: str, schema: Any = None) -> Any:
        """What the schema asks for."""
        replies = {
            "Verdicts": {"verdicts": [{"verdict": "no", "reason": "the document says so"}]},
            "HallucinationScoreReason": {"reason": "It contradicts the document."},
        }
        return schema(**replies[schema.__name__])

    async def a_generate(self, prompt: str, schema: Any = None) -> Any:
        """The same."""
        return self.generate(prompt, schema)


class Phoenix:
    """A model as Phoenix asks it."""

    model = "stand-in"

    async def async_generate_classification(self, **_: Any) -> dict[str, str]:
        """Its one answer."""
        return {"label": "unfaithful", "explanation": "Nothing says so."}


@create_evaluator(name="shouting", direction="minimize")
def shouting(text: str) -> float:
    """Tell the share of capital letters."""
    return sum(map(str.isupper, text)) / len(text)


async def scores() -> dict[str, Any]:
    """By name."""
    asked = {"question": "Which?", "output": "this", "context": ("that",)}
    exact = evaluator(ExactMatchMetric())
    faithful = evaluator(FaithfulnessEvaluator(llm=Phoenix()))
    tone = GEval(name="tone", criteria="polite", evaluation_params=[SingleTurnParams.ACTUAL_OUTPUT], model=Model())
    links = evaluator(MatchesRegex(pattern=r"https?://"))
    return {
        "exact": await exact.score(question="q", output="a", reference="a"),
        "not exact": await exact.score(question="q", output="a", reference="b"),
        "hallucination": await evaluator(HallucinationMetric(model=Model())).score(**asked),
        "hallucination, sync": evaluator(HallucinationMetric(model=Model(), async_mode=False)).score(**asked),
        "a model that fails": await evaluator(tone).score(output="x"),
        "another that fails": await evaluator(AnswerRelevancyMetric(model=Model())).score(question="q", output="x"),
        "no documents": await evaluator(HallucinationMetric(model=Model())).score(question="q", output="a", context=()),
        "link": links.score(output="see https://example.com"),
        "no link": links.score(output="see there"),
        "precision": evaluator(PrecisionRecallFScore()).score(output=["a", "b"], reference=["a", "a"]),
        "shouting": evaluator(shouting).score(text="HELLO"),
        "an evaluator that fails": evaluator(shouting).score(text=""),
        "faithfulness": await faithful.score(question="q", output="a", context=("d1", "d2")),
    }


def guarded() -> list[str]:
    """What a guardrail with each makes of an answer."""
    exact = from_deepeval(ExactMatchMetric(), column_map={"reference": "golden"})
    given = {"question": "q", "golden": "a", "context": ("d",)}
    guards = [Guard(Guardrail(one, stage="output")) for one in (exact, evaluator(FaithfulnessEvaluator(llm=Phoenix())))]
    return [guard.check(text, stage="output", inputs=given).outcome for guard in guards for text in ("a", "b")]


def main() -> None:
    """Print the pickle."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    told = {"scores": asyncio.run(scores()), "guarded": guarded()}
    from deepeval import telemetry  # noqa: PLC0415 - as an application that ends would

    telemetry.flush_standalone_metrics()
    telemetry.flush()
    spans = [span.name for span in exporter.get_finished_spans() if "evaluate" in span.name]
    sys.stdout.buffer.write(pickle.dumps({**told, "network": TRIED, "spans": spans}))


main()
