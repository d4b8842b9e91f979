"""What pii() costs: CPU ms per KB (1,000 characters), clean and with personal data, beside datafog's regex engine.

datafog needs another environment than ours, so it runs in a process of its own, with the Python of that environment:

    python -m venv /tmp/datafog && /tmp/datafog/bin/pip install datafog
    uv run python benchmarks/scorers_cost.py --datafog /tmp/datafog/bin/python [--rounds 15]

Both score the same texts in rounds that take turns; each round tells the CPU time of the thread that scores (the least
of several passes, since whatever else runs only adds to it), and the ratio is the median of the paired rounds'. The
texts: prose in two languages, the same with ten kinds of personal data a KB, or ten in four KB, and the tuning set in
its single sentences and in blocks of a dozen. Then one long text in sizes up to 1 MB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import thread_time

from kit.pairing import load, take_turns

from llmguard_middleware.scorers import pii

_TUNING = Path(__file__).parents[2] / "shared" / "data" / "pii_en_tune.jsonl"
_ENGLISH = (
    "The quarterly report describes how the team moved the service to a new region, what it cost, and who noticed. ",
    "Nobody had to change an address, and the support desk closed nine tickets in May. ",
)
_KOREAN = (
    "이번 분기 보고서는 팀이 서비스를 새 지역으로 옮긴 과정과 비용, 그리고 어떤 고객이 알아차렸는지를 설명합니다. ",
    "아무도 주소를 바꿀 필요가 없었고 고객센터는 5월에 문의 아홉 건을 처리했습니다. ",
)
_TEN = (
    "hong@example.com",
    "(650) 253-0000",
    "4111-1111-1111-1111",
    "123-45-6789",
    "48.90.248.226",
    "GB59 NAWV 7713 6867 0493 56",
    "900101-1234567",
    "010-1234-5678",
    "sk-abcdEFGHijkl1234567890",
    "AKIAIOSFODNN7EXAMPLE",
)
_PASSES = 5
_LEAST = 40_000  # characters a pass

_CHILD = """
import json, sys, time
from datafog.engine import scan
from datafog.processing.text_processing.regex_annotator import RegexAnnotator
engines = {"scan": lambda text: scan(text, engine="regex"), "annotator": RegexAnnotator().annotate}
for line in sys.stdin:
    engine, texts, passes = json.loads(line)
    score, least = engines[engine], float("inf")
    for _ in range(passes):
        before = time.thread_time()
        for text in texts:
            score(text)
        least = min(least, time.thread_time() - before)
    print(least, flush=True)
"""


def _texts() -> dict[str, list[str]]:
    def prose(sentences: tuple[str, ...], every: int, after: str) -> str:
        """Sentences, one of them with a datum in every so many."""
        told = ""
        for number, datum in enumerate(_TEN):
            told += f"{after.format(datum)} " if every else ""
            told += "".join(sentences[(number + i) % 2] for i in range(max(every, 1)))
        return told

    texts = {
        "clean, English": [prose(_ENGLISH, 0, "")],
        "clean, Korean": [prose(_KOREAN, 0, "")],
        "ten data in 1.2 KB, English": [prose(_ENGLISH, 1, "It is {}.")],
        "ten data in 0.9 KB, Korean": [prose(_KOREAN, 1, "제 것은 {}입니다.")],
        "ten data in 4 KB, English": [prose(_ENGLISH, 4, "It is {}.")],
        "ten data in 2.4 KB, Korean": [prose(_KOREAN, 4, "제 것은 {}입니다.")],
    }
    if _TUNING.exists():
        rows = [json.loads(line)["text"] for line in _TUNING.read_text().splitlines()]
        texts["tuning set, by sentence"] = rows
        texts["tuning set, a dozen at once"] = ["\n".join(rows[at : at + 12]) for at in range(0, len(rows), 12)]
    return {name: some * max(1, _LEAST // sum(map(len, some))) for name, some in texts.items()}


def _ours(texts: list[str]) -> float:
    score, least = pii().score, float("inf")
    for _ in range(_PASSES):
        before = thread_time()
        for text in texts:
            score(text)
        least = min(least, thread_time() - before)
    return least


@contextmanager
def _datafog(python: str) -> Iterator[dict[str, Callable[[list[str]], float]]]:
    child = subprocess.Popen([python, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - named by whoever runs this
    assert child.stdin is not None
    assert child.stdout is not None

    def theirs(engine: str, texts: list[str]) -> float:
        print(json.dumps([engine, texts, _PASSES]), file=child.stdin, flush=True)
        return float(child.stdout.readline())  # type: ignore[union-attr]  # as asserted above

    try:
        yield {f"datafog {engine}": partial(theirs, engine) for engine in ("scan", "annotator")}
    finally:
        child.stdin.close()
        child.wait()


def _compared(rounds: int, peers: dict[str, Callable[[list[str]], float]]) -> None:
    print(f"CPU ms per 1,000 characters, median of {rounds} rounds; in brackets pii() to it ({load()})")
    for name, texts in _texts().items():
        size = sum(map(len, texts))
        each = {"pii()": _ours, **peers}
        found = take_turns(rounds, {key: partial(one, texts) for key, one in each.items()})
        cells = []
        for key, seconds in found.items():
            ratio = statistics.median(ours / one for ours, one in zip(found["pii()"], seconds, strict=True))
            cells.append(f"{key} {statistics.median(seconds) / size * 1e6:.3f} ({ratio:.2f})")
        print(f"  {name:30}", *cells, sep="  ", flush=True)


def _growing() -> None:
    unit = _texts()["ten data in 1.2 KB, English"][0]
    for size in (1_000, 10_000, 100_000, 1_000_000):
        text = (unit * (size // len(unit) + 1))[:size]
        print(f"  one text of {size:9,} characters: {min(_ours([text]) for _ in range(2)) / size * 1e6:.3f} ms/KB")


def main() -> None:
    """Print a line for each text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--datafog", metavar="PYTHON", help="of an environment that has it")
    options = parser.parse_args()
    if options.datafog:
        with _datafog(options.datafog) as theirs:
            _compared(options.rounds, theirs)
    else:
        _compared(options.rounds, {})
    _growing()


if __name__ == "__main__":
    main()
