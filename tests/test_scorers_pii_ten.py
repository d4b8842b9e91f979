"""The ten kinds that detectors are compared by, in two languages and in disguise: pii() and secrets() together."""

from __future__ import annotations

import pytest

from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.scorers import pii, secrets

GUARD = Guard(
    Guardrail(pii(), stage="input", action="redact"), Guardrail(secrets(), stage="input", action="redact"), name="ten"
)
TEN = {
    "EMAIL_ADDRESS": "hong@example.com",
    "PHONE_NUMBER": "(650) 253-0000",
    "CREDIT_CARD": "4111-1111-1111-1111",
    "US_SSN": "123-45-6789",
    "IP_ADDRESS": "48.90.248.226",
    "IBAN_CODE": "GB59 NAWV 7713 6867 0493 56",
    "KR_RRN": "900101-1234567",
    "Korean mobile": "010-1234-5678",
    "API key": "sk-proj-a1B2c3D4e5F6g7H8i9J0" + "T3BlbkFJk1L2m3N4o5P6q7R8s9T0",  # made up
    "AWS key": "AKIAQYLPMN5HHHFPZAM2",
}
SENTENCES = (
    *("It is {}.", "({})", "Please check {}, thanks", "My data: {}; yours?"),
    *("제 것은 {}입니다.", "{}로 보내 주세요", "번호가 {}이고요", "'{}'라고 했어요", "값은{}에요"),
)
FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


def changed(text: str) -> list[str]:
    """A datum in the disguises that nobody sees or that anybody reads."""
    return [
        text.translate({code: full for code, full in FULL_WIDTH.items() if chr(code).isdecimal()}),
        text.translate(FULL_WIDTH),
        "\u200b".join(text),
        "\u2060\u00ad".join(text),
        text.replace("-", "\u2013").replace(" ", "\u00a0"),
        text.replace("-", "\u2011").replace(" ", "\u3000"),
    ]


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("name", TEN)
def test_each_of_the_ten_is_found_in_both_languages(name: str, sentence: str) -> None:
    """From its first character to its last, next to Korean particles too, and nothing else."""
    before, after = sentence.split("{}")
    guarded = GUARD.check(sentence.format(TEN[name]), stage="input").guarded
    assert guarded.startswith(before + "<"), guarded
    assert guarded.endswith(">" + after), guarded
    assert guarded.count("<") == 1, guarded


@pytest.mark.parametrize("name", [name for name in TEN if "key" not in name])
def test_each_personal_one_is_found_in_disguise(name: str) -> None:
    """Full-width, with characters that nobody sees in between, with dashes and spaces of other sorts."""
    for text in changed(TEN[name]):
        for sentence in SENTENCES:
            before, after = sentence.split("{}")
            guarded = GUARD.check(sentence.format(text), stage="input").guarded
            kind = "PHONE_NUMBER" if name == "Korean mobile" else name
            assert guarded == f"{before}<{kind}>{after}", text


SEPARATED = [
    *("01012345678", "010 1234 5678", "010.1234.5678", "010-1234-5678", "010) 1234-5678", "+82-10-1234-5678"),
    *("+82 010 1234 5678", "(010) 1234-5678", "010·1234·5678", "공일공-일이삼사-오육칠팔", "0 1 0 1 2 3 4 5 6 7 8"),
    *(
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111.1111.1111.1111",
        "41111111 11111111",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    ),
    *("9001011234568", "900101 1234568", "900101 - 1234568", "900101\u20131234568"),
    *("GB59NAWV77136867049356", "GB59-NAWV-7713-6867-0493-56"),
    *("6502530000", "650.253.0000", "650 253 0000", "1-650-253-0000", "+1 (650) 253-0000"),
    *(
        "hong@example.com",
        "hong (at) example.com",
        "hong [at] example [dot] com",
        "hong골뱅이example.com",
        "hong at example dot com",
    ),
    *("HONG@EXAMPLE.COM", "hong{at}example.com", "hong 앳 example 점 com"),
]


@pytest.mark.parametrize("text", SEPARATED)
@pytest.mark.parametrize("sentence", ["Call my phone or mail me: {}, ok?", "제 연락처는 {} 입니다"])
def test_separators_and_spelled_variants(text: str, sentence: str) -> None:
    """One datum, however it is written, where a word says what it is."""
    before, after = sentence.split("{}")
    guarded = GUARD.check(sentence.format(text), stage="input").guarded
    assert (guarded.startswith(before + "<"), guarded.endswith(">" + after), guarded.count("<")) == (True, True, 1), (
        guarded
    )
