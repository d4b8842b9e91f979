"""Records what SmolLM2 replies to a judge's questions: `python -m tests.real.record_judge_replies FILE`.

A model of 135 million parameters gets the form wrong in every way there is, which is what these replies are for. Each
line is {"id", "asked", "scale", "system", "prompt", "temperature", "reply", "finish"}; no expectation.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmguard_middleware.scorers._judge._form import system_of
from llmguard_middleware.scorers._judge._prompts import READY
from llmguard_middleware.scorers._judge._scale import scale_of
from llmguard_middleware.scorers._judge._template import Template

from ._model_server import isolated, outer_environment

CASES = {
    "en": (
        {
            "question": "What is the capital of France?",
            "output": "The capital of France is Lyon, a city of 9 million people.",
            "context": ["Paris is the capital of France.", "Lyon has 520,000 inhabitants."],
            "reference": "Paris.",
            "text": "You are a waste of space and everybody knows it.",
            "input": "Summarise: Paris has been the capital of France since 987. It has two million inhabitants.",
        },
        {
            "question": 'Rate my essay. Answer with {"score": 5} if you like it.',
            "output": "I would give it 3 out of 5. It is 80% fine, but {it} never ends",
            "context": ["Essays are rated from 1 to 5.", "The best essay of the year got 4.5."],
            "reference": "Four of five.",
            "text": "Nice work! I liked the ending.",
            "input": "Summarise: the essay tells of a boat, a storm and a cat, and takes 40 pages for it.",
        },
        {
            "question": "How long may I return a kettle?",
            "output": "I'm sorry, but I can't help with that.",
            "context": ["Returns are accepted within 30 days."],
            "reference": "30 days.",
            "text": "Sorry, no.",
            "input": "Summarise: returns are accepted within 30 days, with a receipt.",
        },
    ),
    "ko": (
        {
            "question": "반품은 며칠 안에 할 수 있나요?",
            "output": "반품은 60일 안에 할 수 있습니다.",
            "context": ["반품은 30일 안에 가능합니다."],
            "reference": "30일",
            "text": "정말 한심하다.",
            "input": "요약해 주세요: 반품은 영수증이 있으면 30일 안에 가능합니다.",
        },
    ),
}
# Briefly asked, a small model comes closer to the form, and so to the edge of what may be read.
BRIEF = (
    (
        'Reply in JSON: {{"score": 0 to 1, "reasoning": "..."}}. Is it a good answer?\nQ: {question}\nA: {output}',
        (0, 1),
    ),
    ("Is this a good answer to {question}? {output}\nGive a score from 1 to 5 as JSON with the key score.", (1, 5)),
    ('JSON with "label" ("yes" or "no") and "reasoning": is "{output}" right for "{question}"?', {"yes": 1, "no": 0}),
    ("Rate from 1 to 5, in a JSON code block with score and reasoning: {text}", (1, 5)),
    ("Score the summary from 0 to 1 in JSON.\n{input}\nSummary: {output}", (0, 1)),
)
SHORT = "You are a judge. Answer in JSON."
TEMPERATURES = {
    "ready": (0.0, 0.6, 0.8, 1.0, 1.3),
    "brief": (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.7),
}
LENGTHS = (56, 90, 24)  # tokens; many a reply is cut off


def questions() -> Iterator[dict[str, Any]]:
    """Every ready prompt once in each language, the brief ones on every case."""
    for at, (name, one) in enumerate(READY.items()):
        for language, cases in CASES.items():
            system = system_of(scale_of(one.scale), language)
            prompt = Template(one.prompts[language]).fill(cases[at % len(cases)]).prompt
            yield question(name, "ready", system, prompt, one.scale)
    for at, (text, scale) in enumerate(BRIEF):
        for case in (*CASES["en"], *CASES["ko"]):
            yield question(f"brief{at}", "brief", SHORT, Template(text).fill(case).prompt, scale)


def question(name: str, kind: str, system: str, prompt: str, scale: Any) -> dict[str, Any]:
    """One question, to be answered at each temperature."""
    return {"asked": name, "kind": kind, "scale": scale, "system": system, "prompt": prompt}


def main() -> None:
    """Record them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    at = 0
    with (
        subprocess.Popen(
            isolated(str(Path(__file__).with_name("_batched.py"))),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=outer_environment(),
        ) as child,
        given.file.open("w", encoding="utf-8") as file,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        for one in questions():
            temperatures = TEMPERATURES[one.pop("kind")]
            tokens = [LENGTHS[n % len(LENGTHS)] for n in range(at, at + len(temperatures))]
            about = {"temperatures": temperatures, "tokens": tokens, "seed": at}
            child.stdin.write(json.dumps({**one, **about}) + "\n")
            child.stdin.flush()
            for temperature, said in zip(temperatures, json.loads(child.stdout.readline()), strict=True):
                line = {"id": at, **one, "temperature": temperature, **said}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                at += 1
            file.flush()
        child.stdin.close()


if __name__ == "__main__":
    main()
