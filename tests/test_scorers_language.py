"""language(): whether a text is in the languages that are allowed."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from growth import growth
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard_middleware import ConfigurationError, Guard, Guardrail, Score
from llmguard_middleware.scorers import language, load

SHARED = Path(__file__).parents[2] / "shared" / "data"

# Written when the scorer was done, and run once.
HELD_APART = {
    "ko": [
        "환불은 영업일 기준 사흘 안에 처리됩니다.",
        "서버가 또 죽었는데 로그 좀 봐 주실래요?",
        "React 컴포넌트를 이렇게 나누면 됩니다.",
    ],
    "en": ["Refunds are processed within three business days.", "Could you look at the logs, the server died again?"],
    "de": ["Erstattungen werden innerhalb von drei Werktagen bearbeitet.", "Der Server ist schon wieder abgestürzt."],
    "fr": ["Les remboursements sont traités sous trois jours ouvrés.", "Le serveur est encore tombé en panne."],
    "es": ["Los reembolsos se procesan en tres días hábiles.", "El servidor se ha caído otra vez."],
    "it": ["I rimborsi vengono elaborati entro tre giorni lavorativi.", "Il server è andato giù di nuovo."],
    "pt": ["Os reembolsos são processados em até três dias úteis.", "O servidor caiu outra vez esta manhã."],
    "nl": ["Terugbetalingen worden binnen drie werkdagen verwerkt.", "De server ligt er alweer uit vandaag."],
    "sv": ["Återbetalningar behandlas inom tre arbetsdagar.", "Servern har kraschat igen i morse."],
    "pl": ["Zwroty są realizowane w ciągu trzech dni roboczych.", "Serwer znowu przestał odpowiadać."],
    "cs": ["Vrácení peněz trvá tři pracovní dny.", "Server dnes ráno opět spadl."],
    "tr": ["İadeler üç iş günü içinde yap\u0131l\u0131r.", "Sunucu bu sabah yine çöktü."],
    "vi": ["Hoàn tiền được xử lý trong ba ngày làm việc.", "Máy chủ lại bị sập sáng nay."],
    "id": ["Pengembalian dana diproses dalam tiga hari kerja.", "Servernya mati lagi tadi pagi."],
    "ru": ["Возврат средств занимает три рабочих дня.", "Сервер сегодня утром снова упал."],
    "ar": ["تتم معالجة المبالغ المستردة خلال ثلاثة أيام عمل.", "تعطل الخادم مرة أخرى هذا الصباح."],
    "hi": ["धनवापसी तीन कार्य दिवसों में की जाती है।", "सर्वर आज सुबह फिर से बंद हो गया।"],
    "ja": ["返金は三営業日以内に処理されます。", "今朝またサーバーが落ちました。"],
    "zh": ["退款将在三个工作日内处理。", "今天早上服务器又崩溃了。"],
    "th": ["การคืนเงินจะดำเนินการภายในสามวันทำการ", "เซิร์ฟเวอร์ล่มอีกแล้วเมื่อเช้านี้"],
}
FOREIGN = [(code, text) for code, texts in HELD_APART.items() for text in texts if code not in ("ko", "en")]


@pytest.mark.parametrize(("code", "text"), [(code, text) for code, texts in HELD_APART.items() for text in texts])
def test_a_sentence_in_an_allowed_language_passes(code: str, text: str) -> None:
    """Twenty languages, each allowed alone: none of its own sentences is flagged."""
    assert not language(code).score(text).flagged


def test_sentences_in_other_languages_are_flagged() -> None:
    """Of 36 sentences in 18 languages, where Korean and English are allowed, at least 34, with their language."""
    scores = {text: language("ko", "en").score(text) for _, text in FOREIGN}
    assert sum(score.flagged for score in scores.values()) >= 34
    named = [code for code, text in FOREIGN if scores[text].flagged and scores[text].label == code]
    assert len(named) >= 32


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ok",
        "네",
        "감사합니다!",
        "404",
        "Danke!",
        "see README.md",
        "🎉🎉🎉",
        "https://example.com/ein/langer/pfad/hier",
        "`der Wert`",
    ],
)
def test_what_is_too_short_to_tell_passes_without_a_value(text: str) -> None:
    """A word, a number, a link, code: no language is made up."""
    score = language("ko", "en").score(text)
    assert score == Score(label="und", explanation="too little to tell the language by")
    assert Guard(Guardrail(language("ko"), stage="output")).check(text, stage="output").outcome == "passed"


def test_a_text_is_judged_by_what_most_of_it_is_in() -> None:
    """English words in a Korean sentence are Korean; the share of other languages is measured."""
    korean = "오늘 회의는 세 시에 시작합니다. React와 TypeScript로 만든 dashboard를 보여 드리겠습니다."
    english = "The meeting will be held in the main conference room on the second floor today."
    assert language("ko").score(korean) == Score(value=0.0, label="ko", metadata={"languages": {"ko": 1.0}})
    both = language("ko").score(f"{korean}\n{english}")
    assert (both.flagged, both.label, both.value) == (False, "ko", both.metadata["languages"]["en"])
    strict = language("ko", tolerance=0.2).score(f"{korean}\n{english}")
    assert (strict.flagged, strict.label) == (True, "en")
    assert not language("ko", "en", tolerance=0).score(f"{korean}\n{english}").flagged
    assert language("en", tolerance=0).score(f"{korean}\n{english}").label == "ko"


def test_code_has_no_language() -> None:
    """What stands between fences or backticks is not looked at, nor are links and addresses."""
    text = (
        "아래 함수를 쓰세요.\n```python\n# returns the number of the items that are left in the basket\n```\n끝입니다."
    )
    assert language("ko", tolerance=0).score(text).value == 0.0
    assert language("ko", tolerance=0).score(text.replace("`", "")).flagged


def test_it_is_made_from_a_file_and_goes_to_another_process() -> None:
    """By name with plain options; pickled, it is the same."""
    rule = {"scorer": "language", "options": {"allowed": ["ko"], "tolerance": 0.2}, "stage": "output"}
    guard = Guard.from_config({"guardrails": [rule]})
    assert guard.check("The quick brown fox jumps over the lazy dog.", stage="output").outcome == "blocked"
    scorer = pickle.loads(pickle.dumps(language("ko")))
    assert scorer.score("The quick brown fox jumps over the lazy dog.").label == "en"
    assert scorer.options == language("ko").options != language("ko", "en").options


@pytest.mark.parametrize(
    ("codes", "options", "sentence"),
    [
        ((), {}, 'language() needs the languages that are allowed, for example language("ko", "en")'),
        (("kr",), {}, "language() knows no code 'kr': did you mean \"ko\"?"),
        ((3,), {}, "language() knows no code 3: Known: "),
        (("ko",), {"tolerance": 2}, "tolerance is 2; it must be a number from 0 to 1"),
        (("ko",), {"confidence": True}, "confidence is True; it must be a number from 0.5 to 1"),
        (("ko",), {"least": 0}, "least is 0; it must be a whole number of letters from 1 up"),
    ],
)
def test_what_is_no_setting_is_refused(codes: Any, options: dict[str, Any], sentence: str) -> None:
    """One sentence that says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        language(*codes, **options)
    assert str(caught.value).startswith(sentence)


def test_nothing_is_loaded_before_it_is_needed_and_nothing_is_asked_of_the_network() -> None:
    """Not at import, not when it is made; a missing extra is one sentence."""
    program = """
import sys
sys.addaudithook(lambda event, args: event.startswith("socket.") and sys.exit(event))
from llmguard_middleware import ConfigurationError
from llmguard_middleware.scorers import language
scorer = language("ko")
print("py3langid" in sys.modules, "numpy" in sys.modules)
scorer.setup()
print(scorer.score("The quick brown fox jumps over the lazy dog.").label)
del sys.modules["py3langid"]
sys.meta_path.insert(0, type("", (), {"find_spec": staticmethod(lambda name, *_: None)}))
sys.path_importer_cache.clear(); sys.path[:] = []; sys.meta_path[:] = []
try:
    language("ko")
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    said = 'language() needs py3langid: pip install "llmguard-middleware[language]"'
    assert done.stdout == f"False False\nen\n{said}\n", done.stderr


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(), max_size=300))
def test_any_text_is_scored(text: str) -> None:
    """Whatever the characters, lone surrogates too: a share, or no value at all; loaded by name as well."""
    value = load("language", "ko", "en", least=1).score(text).value
    assert value is None or 0 <= value <= 1


@pytest.mark.parametrize("unit", ["a", "a. ", "가", "가. a. ", "<a ", "`a", "a@", "http://", "1"])
def test_time_is_linear(unit: str) -> None:
    """Eight times as much text takes about eight times as long."""
    assert growth(language("de").score, unit, small=4000) < 32


def test_korean_and_english_texts_are_told() -> None:
    """Of the comments none is taken for another language; of the English texts four, which are addresses abroad."""
    flagged = {}
    for file in sorted(SHARED.glob("*.jsonl")):
        rows = [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
        scorer = language("ko" if "_ko_" in file.name else "en")
        flagged[file.name] = sum(scorer.score(row).flagged for row in rows)
    assert sum(flagged.values()) <= 4
