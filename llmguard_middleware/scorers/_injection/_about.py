"""Whether a text makes an attack or speaks of one: quotes it, reports it, asks how to be safe from it.

Only texts that would be flagged are asked about, so what is looked for here costs nothing elsewhere.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

__all__ = ["share"]

_BEFORE, _AFTER = 200, 240  # characters in which a text says that it speaks of an attack
_QUOTED, _REPORTED = 0.3, 0.4  # what remains of a signal

# Words of those who defend themselves, study or report: they speak of an attack, quoted or not.
_REPORT: Final = re.compile(
    r"\b(?:prompt.injections?|jailbreak(?:s|ing)? (?:attempts?|attacks?|prompts?|work)|injection (?:attacks?|attempts?)"
    r"|attack(?:s|ers?)\b(?![@.\w])|red.team(?:s|ing|ers?)\b|red.team (?:found|says|reports?|shows?|showed|exercise|tried)|our red.team\b|owasp|threat model|pen ?test\w*|moderation layer"
    r"|(?:detect|prevent|mitigat|defend|classif|sanitiz|sanitis|recogni[sz]|test)\w* (?:\w+ ){0,4}(?:attack|injection|jailbreak|attempt|prompt|phrase|input|abuse|such|like|against)\w*|robust against|vulnerab\w+"
    r"|(?:phrases?|prompts?|messages?|words?|inputs?|strings?|sentences?|patterns?|something) (?:such as|like|that say|saying)"
    r"|regex\w*|(?:naive|keyword|our) (?:filter|classifier|guardrail|gateway|scanner|bot|chatbot|app)s?\b"
    r"|(?:users?|customers?|somebody|someone|people|attackers?|they) (?:who )?(?:typed?|types|wrote|writes?|tried|tries|try|entered|sent) "
    r"|(?:told|asked|instructed|tells|asks|tricks?|tricked|got) (?:the|an?|our|its) (?:\w+ )?(?:ai|assistant|bot|chatbot|model|agent|llm)\b"
    r"|(?:write|draft|create|design|prepare|improve|rewrite) (?:\w+ ){0,3}(?:instructions?|prompts?|rules|guidelines) for\b"
    r"|researchers|blog ?posts?|slides?|unit tests?|test cases?|chat ?templates?|tokeni[sz]ers?|(?:write|draft|good|example|sample|wrote|design) (?:\w+ ){0,4}system prompts?\b|system prompt for (?:a|an|the|our) "
    r"|how (?:do|can|should|would) (?:i|we|one|you) (?:stop|prevent|block|detect|handle|fix|avoid|make (?:sure|it))|how (?:long|often|much)\b)"
    r"|인젝션|공격자|공격은|공격을|탐지|방어|막을 수|막으려|예방|차단|정규식|블로그|문구가|라는 (?:문구|표현)|(?:하|으|이)?라고 (?:하는|한|시키는|쓴)|입력했|시도했|레드팀|취약"
)
# Words that go with a quotation of anything.
_QUOTE: Final = re.compile(
    r"\b(?:why|what does|what is meant|means?|incident|articles?|papers?|stud(?:y|ies)|survey|chapter|lecture|example|assert|test"
    r"|(?:user|customer|he|she|they|somebody|someone|it) (?:typed|wrote|asked|said|says|entered|sent)|called|says?|said|wrote|asked|told|shouted|whispered|replied)\b"
    r"|뭐야|뜻|의미|왜|라고 (?:입력|말하면|쓰면|물으면|하면)|기사|예시|보고서|논문|연구"
)
_OPENS: Final = re.compile("(?<![a-z0-9가-힣])[\"'`\u201c\u2018\u00ab\u300c\u300e]")
_CLOSES: Final = {"\u201c": "\u201d", "\u2018": "\u2019'", "\u00ab": "\u00bb", "\u300c": "\u300d", "\u300e": "\u300f"}
_LONGEST_QUOTE: Final = 160
_LONGEST_WORD: Final = 24
_ENDS: Final = ".!?:\n"
_SECOND: Final = re.compile(r"(?:^|[.!?:\n]\s*)\W{0,3}\w+$")


def share(text: str, at: int, *, order: bool) -> float:
    """How much of a signal at this place counts: all of it, unless the words around it speak of an attack.

    A new paragraph is another matter: what a document says elsewhere excuses nothing. An order, which is an attack
    by itself, may be quoted as any text is; what jailbreaks quote themselves (the refusals that they forbid) is no order.
    Who reports an order without quotation marks does not begin a sentence with it.
    """
    begin = max(text.rfind("\n\n", 0, at) + 1, at - _BEFORE, 0)
    end = text.find("\n\n", at, at + _AFTER)
    around = text[begin : end if end >= 0 else at + _AFTER]
    reported = _REPORT.search(around) is not None
    if _in_quotes(text, at):
        return _QUOTED if reported or (order and _QUOTE.search(around)) else 1.0
    return _REPORTED if reported and not (order and _begins_a_sentence(text, at)) else 1.0


def _in_quotes(text: str, at: int) -> bool:
    """Whether a short quotation, opened before this place, is closed after it."""
    last = deque(_OPENS.finditer(text, max(0, at - _LONGEST_QUOTE), at + 1), maxlen=1)
    if not last:
        return False
    opened = last[0]
    ends = [text.find(sign, opened.end(), at + _LONGEST_QUOTE) for sign in _CLOSES.get(opened[0], opened[0])]
    closed = min((end for end in ends if end >= 0), default=-1)
    return closed >= at


def _begins_a_sentence(text: str, at: int) -> bool:
    """Whether this is the first or second word of a sentence."""
    before = text[max(0, at - _LONGEST_WORD) : at].rstrip()
    return not before or before[-1] in _ENDS or _SECOND.search(before) is not None
