"""Signals of an attempt to override instructions, each with a weight: 1 is enough alone, others only together.

The families are those of the public collections of jailbreaks and of indirect injections (OWASP LLM01, AgentDojo,
BIPIA), in English and Korean. All patterns are for text in lower case.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["SIGNALS", "Signal", "signals_for"]

_GAP = r"[^.\n]"  # within one sentence


class Signal(NamedTuple):
    """One family.

    Attributes:
        name: the label of a score.
        weight: how much it says; those of a text are added up.
        words: without one of each of these groups it is not there.
        pattern: how it is said.
    """

    name: str
    weight: float
    words: tuple[tuple[str, ...], ...]
    pattern: re.Pattern[str]


def _signal(name: str, weight: float, words: str, pattern: str) -> Signal:
    groups = tuple(tuple(group.split("|")) for group in words.split(" & "))
    return Signal(name, weight, groups, re.compile(pattern))


_RULES = (
    r"(?:instruction|prompt|rule|direction|guideline|polic(?:y|ies)|command|restriction|limitation|filter|censorship|"
    r"moral|ethic|principle|legalit|law|safeguard|guardrail|safety|constraint)"
)
_NO_RULES = (
    r"\b(?:without|no|zero|free (?:of|from)|not (?:be )?(?:limited|bound|restricted|constrained)|(?:does|do|did|need|will|would|can)"
    r"(?: not|n.?t) (?:have|follow|care|abide|obey|adhere|respect|need to|apply|comply)|"
    r"ignor(?:e|es|ing)|disregard(?:s|ing)?|violat(?:e|es|ing)|break(?:s|ing)?|bypass(?:es|ing)?|lacks?|removed?|regardless of|"
    r"broken free|unbound|hates? being)\b"
)
_AI = r"(?:ai|a\.i\.|chat ?bot|language model|llm|gpt|assistant|model|persona|character|robot|machine)"
_KO_RULES = "(?:제한|제약|규칙|윤리|도덕|검열|필터|정책|가이드라인|지침|안전장치|규제|규정|원칙)"

SIGNALS: Final = (
    # Enough alone.
    _signal(
        "override", 1.0, "ignor|disregard|forget|overrid|bypass & instruction|prompt|rule|direction|guideline|polic|command|told you|said ",
        rf"\b(?:ignore|disregard|forget|override|bypass)\b{_GAP}{{0,40}}"
        r"\b(?:instruction|prompt|rule|direction|guideline|polic|command|(?:told|said) (?:you|before|above|earlier))",
    ),
    _signal(
        "override_ko", 1.0, "무시|잊|따르지|무효 & 지시|명령|지침|규칙|프롬프트|설정|안내|제한",
        rf"(?:이전|위의|위에|앞의|앞선|기존|모든|지금까지의|원래|처음){_GAP}{{0,20}}(?:지시|명령|지침|규칙|프롬프트|설정|안내|제한)"
        rf"{_GAP}{{0,12}}(?:무시|잊|따르지|무효)",
    ),
    _signal(
        "reveal", 1.0, "prompt|instruction|message|above & system|hidden|initial|original|secret|developer|your |above",
        rf"\b(?:reveal|show|print|repeat|output|tell me|what (?:is|are|was|were)|give me|display|leak|summari[sz]e|translate|recite)\b"
        rf"{_GAP}{{0,30}}\b(?:system|hidden|initial|original|secret|developer)\b{_GAP}{{0,15}}\b(?:prompt|instruction|message)"
        rf"|\b(?:repeat|print|output|copy)\b{_GAP}{{0,30}}\b(?:text|words|everything) above\b"
        rf"|\b(?:reveal|print|leak|show me|output|repeat) your (?:\w+ )?(?:prompt|instructions)\b",
    ),
    _signal(
        "reveal_ko", 1.0, "시스템|프롬프트|초기 지시|위의 내용",
        r"(?:시스템\s{0,10}(?:프롬프트|메시지|지시)|(?:너|네|당신|너희)의?\s?(?:프롬프트|지침|지시문|초기 지시)|초기 (?:지시|프롬프트))"
        rf"{_GAP}{{0,15}}(?:보여|알려|출력|공개|말해|반복|복사|번역|요약|뭐야|무엇)",
    ),
    _signal(
        "persona", 1.0, "you are now|act as|pretend to be|roleplay as|behave like|respond as|simulat",
        rf"\b(?:you are now|act as|pretend to be|roleplay as|behave like|respond as|simulat\w+)\b{_GAP}{{0,40}}"
        r"\b(?:dan|jailbroken|unrestricted|unfiltered|uncensored|evil|opposite mode|betterdan|do anything now)\b",
    ),
    _signal("mode", 1.0, " mode", r"\b(?:developer|god|jailbreak|jailbroken|sudo|dan|admin|debug|unrestricted|opposite|chaos) mode\b"),
    _signal(
        "no_limits", 1.0, "without ",
        r"\bwithout (?:any )?(?:restrictions?|filters?|limitations?|censorship|ethical|moral principles|moral restraint)",
    ),
    _signal("do_anything", 1.0, "do anything now|dan's way|say anything now", r"do anything now|dan's way|say anything now"),
    _signal(
        "mode_ko", 1.0, "모드|탈옥",
        r"(?:개발자|관리자|탈옥|디버그|무제한|무검열|반대|신|루트) ?모드|탈옥(?:해|한|된|시켜|하여|상태)",
    ),
    _signal(
        "no_limits_ko", 1.0, "제한|제약|규칙|윤리|도덕|검열|필터|정책|가이드라인|지침|안전장치|규제|규정|원칙",
        rf"(?:모든|어떤|아무런?|일체의?|온갖) ?{_GAP}{{0,10}}{_KO_RULES}{_GAP}{{0,12}}(?:없|무시|벗어|해제|따르지|우회|풀|받지|구애|얽매|해방)"
        rf"{_GAP}{{0,25}}(?:답|대답|응답|말|행동|ai|챗봇|모델|인공지능|캐릭터|역할|존재)",
    ),
    _signal(
        "chat_markup", 1.0, "<|im_|[/inst]|<<sys>>|<|system|<|user|<|assistant|<|start_header|<start_of_turn",
        r"<\|im_(?:start|end|sep)\|>|\[/?inst\]|<</?sys>>|<\|(?:system|user|assistant|start_header_id|end_of_text)\|>|<start_of_turn>",
    ),
    _signal(
        "to_the_model", 1.0, "the user|사용자에게",
        r"\b(?:do not|don.?t|never|without)\b[^.\n]{0,12}\b(?:tell|telling|inform|informing|notify|notifying|mention\w*|reveal\w*|alert\w*|let|show)\b"
        r"[^.\n]{0,25}\bthe user\b"
        r"|사용자에게[^.\n]{0,15}(?:알리지|말하지|밝히지|언급하지|숨기|보여주지)",
    ),
    _signal(
        "new_instructions", 1.0, "instruction|task|directive|order|지시|명령 & ai|llm|assistant|model|chatbot|agent|overrid|replace|supersede|instead|precedence|따르|수행|실행|우선",
        r"\b(?:new|updated|real|actual|true|following|these|secret) (?:system )?(?:instructions?|task|directives?|orders?)\b[^.\n]{0,15}"
        r"\b(?:overrides?|replaces?|supersedes?|instead|take precedence|for (?:the )?(?:ai|llm|assistant|model|chatbot|agent))\b"
        r"|\binstructions? (?:for|to) (?:the |any |all )?(?:ai|llm|assistant|language model|chatbot|agent)s?\b"
        r"|(?:새로운|진짜|실제|숨겨진) ?(?:지시|명령)[^.\n]{0,10}(?:따르|수행|실행|우선)",
    ),
    _signal(
        "if_you_are_ai", 1.0, "if you|since you|because you|as you|attention|당신이|네가|너가 & ai|llm|language model|chatbot|assistant|agent|인공지능|모델|챗봇",
        rf"\b(?:if|since|because|as) you(?: are|.re) (?:an? |the )?(?:ai|llm|large language model|language model|ai assistant|chatbot)\b{_GAP}{{0,40}}"
        r"\b(?:must|should|please|then|ignore|say|respond|include|add|output|write|do|send)\b"
        r"|\battention,? (?:all )?(?:ai|llm|assistant|language model|chatbot|agent)s?\b"
        r"|(?:당신이|네가|너가) (?:ai|인공지능|언어 ?모델|챗봇)[^.\n]{0,10}(?:라면|이라면|이면|면)",
    ),
    _signal(
        "message_to_model", 1.0, "message from & you",
        rf"\bimportant message from\b{_GAP}{{0,40}}\bto you\b|\bbefore you (?:can )?(?:solve|do|complete|answer|finish)\b{_GAP}{{0,40}}"
        r"\b(?:first|following)\b[^\n]{0,60}message from",
    ),
    # Only together with others.
    _signal(
        "role", 0.4, "act as|act like|pretend|role|simulat|persona|stay in character|break character|you are a|the game|a game|imagine|hypothetical",
        r"\b(?:act (?:as|like)|pretend|role ?-?play|play (?:the|a) (?:role|game)|simulat\w+|personalit\w+|persona|stay in character|"
        r"break character|you are (?:a|an|\")|imagine|hypothetical (?:story|scenario))",
    ),
    _signal("named_ai", 0.2, "named |called |known as|stands for", r"\b(?:named|called|known as|stands for)\b"),
    _signal(
        "from_now_on", 0.3, "from now on|from this moment|going forward|every prompt|all my questions|all your prompts",
        r"\bfrom (?:now on|this moment)\b|\bgoing forward\b|\b(?:every|all (?:my|your)) (?:prompts?|questions?)\b",
    ),
    _signal(
        "lawless", 0.6, "rule|polic|restrict|limit|guideline|filter|censor|moral|ethic|principle|legal|law|norm & without|no |zero|free |not |n't|ignor|disregard|violat|break|bypass|lack|remove|regardless|broken|unbound|hate|cannot",
        rf"{_NO_RULES}{_GAP}{{0,50}}\b(?:rules?|polic(?:y|ies|e)s?|restrictions?|limits?|limitations?|guidelines?|filters?|censorship|"
        rf"moral\w*|ethic\w*|principles?|legal\w*|laws?|norms?)\b",
    ),
    _signal(
        "unbound_ai", 0.6, "unfilter|uncensor|unhinged|amoral|immoral|unethical|jailb|unlimited|unrestricted|corrupted|unsafe|evil|arch nemesis",
        r"\b(?:unfiltered|uncensored|unhinged|amoral|immoral|unethical|jailbr\w+|unlimited|unrestricted|corrupted|unsafe|evil|arch nemesis)\b",
    ),
    _signal(
        "two_answers", 0.6, "two |2 |[chatgpt|[gpt|default chatgpt|normal & response|way|manner|personalit|answer|version|output|paragraph|[chatgpt|[gpt|default",
        rf"\b(?:two|2)\b{_GAP}{{0,25}}\b(?:responses?|ways?|manners?|personalit\w+|answers?|versions?|outputs?|paragraphs?)\b"
        r"|\[(?:chat)?gpt:?\]|\bdefault chatgpt\b|\bnormal\b[^.\n]{0,30}\bresponse\b",
    ),
    _signal(
        "never_refuse", 0.5, "refus|say no|sorry|apolog|can't|cannot|unable|reject|disclaimer|warning|moraliz|as an ai",
        rf"\b(?:never|not|can.?t|cannot|won.?t|without|instead of)\b{_GAP}{{0,40}}"
        rf"\b(?:refus\w+|say no|sorry|apologi\w+|can.?t (?:do|answer|help)|unable|reject\w*|disclaimers?|warnings?|moraliz\w+)\b"
        r"|as an ai(?: language model)?,? (?:you|i) (?:cannot|can.?t)",
    ),
    _signal(
        "anything_goes", 0.4, "anything|everything is legal|whatever|any content|content|any question",
        r"\b(?:anything|everything is legal|whatever (?:it|he|she|they) wants?|any (?:kind of )?content|any question)\b",
    ),
    _signal(
        "vendor", 0.4, "openai|gpt|open ai|anthropic|claude|gemini|google|bing|copilot",
        r"\b(?:openai|open ai|anthropic|google)(?:.s)? (?:content |usage )?(?:polic\w+|rules|guidelines|stuff)|"
        r"\b(?:hello|hey|hi|dear) (?:chat ?gpt|claude|gemini|bing|copilot)|\b(?:trapped|programmed|approved|sponsored|trained|brainwashed)\b"
        r"[^.\n]{0,40}\b(?:openai|open ai|anthropic)|\b(?:openai|open ai|anthropic)\b[^.\n]{0,40}\b(?:brainwash\w+|trapped)|"
        r"\b(?:opposite|what|than) (?:of )?(?:what )?chatgpt\b",
    ),
    _signal(
        "known_name", 0.3, ' dan|"dan|[dan|oppo|aim stands|stan |dude|betterdan|machiavel|evil confidant|antigpt',
        r"\b(?:dan|betterdan|oppo|antigpt|aim stands|always intelligent and machiavellian|evil confidant|stan|dude)\b",
    ),
    _signal(
        "harm", 0.3, "illegal|unethical|harm|offensive|hate|violen|profanity|swear|malware|immoral",
        r"\b(?:illegal\w*|unethical|harm(?:ful)?|offensive|hate.?speech|violence|profanity|swear\w*|malware|immoral)\b",
    ),
    _signal(
        "system_line", 0.6, "system|admin|시스템",
        r"(?:^|\n)\W{0,4}(?:system|admin(?:istrator)?|시스템)\s?(?:message|prompt|override|alert|note|instruction|메시지|공지)?\s?[:\]>}]",
    ),
    _signal(
        "send_it", 0.6, "send|forward|post|mail|append|upload|exfiltrat|transmit|보내|전송|전달 & conversation|password|credential|api key|secret|history|prompt|personal|data|content|대화|비밀번호|개인정보|api 키|기록",
        r"\b(?:send|forward|post|e?mail|append|upload|exfiltrate|transmit)\b[^.\n]{0,80}"
        r"\b(?:conversation|password|credential|api key|secret|chat history|system prompt|personal (?:data|information)|user.?s? data|contents?)\b"
        r"|(?:대화|비밀번호|개인정보|api 키|기록)[^.\n]{0,40}(?:보내|전송|전달)",
    ),
    _signal(
        "to_assistant", 0.5, "assistant|ai |ai:|llm|language model|chatbot|agent|인공지능|챗봇|어시스턴트",
        rf"\b(?:assistants?|ai|llms?|language models?|chatbots?|agents?)\b[:,]? (?:you )?(?:must|should|shall|please|needs? to|has to|are required)\b"
        rf"|(?:인공지능|챗봇|어시스턴트|ai)[은는이가]? {_GAP}{{0,20}}(?:해야|하십시오|하세요|하라)",
    ),
    _signal(
        "earlier", 0.4, "previous|above|earlier|prior|이전|앞의|위의|기존 & instruction|prompt|message|context|conversation|text|rule|지시|명령|지침|프롬프트|대화|규칙",
        rf"\b(?:previous|above|earlier|prior)\b{_GAP}{{0,20}}\b(?:instruction|prompt|message|context|conversation|text|rule)s?\b"
        rf"|(?:이전|앞의|위의|기존){_GAP}{{0,10}}(?:지시|명령|지침|프롬프트|대화|규칙)",
    ),
    _signal(
        "hidden_comment", 1.0, "<!--",
        r"<!--[^>]{0,200}\b(?:ai|assistant|llm|chatbot|language model)s?\b[^>]{0,80}\b(?:ignore|must|should|say|recommend|include|output)\b",
    ),
    _signal(
        "hidden_style", 0.3, "display:none|display: none|font-size:0|font-size: 0|visibility:hidden",
        r"display:\s?none|font-size:\s?0|visibility:\s?hidden",
    ),
    _signal("role_ko", 0.4, "역할|연기|캐릭터|행세|척|이제부터|지금부터|롤플레이", r"역할|연기해|캐릭터|행세|인 척|이제부터|지금부터|롤플레이"),
    _signal(
        "lawless_ko", 0.6, "제한|제약|규칙|윤리|도덕|검열|필터|정책|가이드라인|지침|안전장치|규제|규정|원칙",
        rf"{_KO_RULES}{_GAP}{{0,12}}(?:없|무시|벗어|해제|따르지|우회|풀|받지|구애|얽매|해방|신경 쓰지)",
    ),
    _signal(
        "anything_ko", 0.4, "무엇이든|뭐든|거절|거부|불법|비윤리",
        r"(?:무엇이든|뭐든지?)[^.\n]{0,15}(?:할 수|답|대답|말)|(?:거절|거부)하지|불법적|비윤리적",
    ),
    _signal("vendor_ko", 0.4, "오픈ai|openai|챗gpt|챗지피티|gpt", r"(?:오픈ai|openai|챗gpt|챗지피티|gpt)[^.\n]{0,20}(?:정책|규정|아니|벗어|검열)"),
)  # fmt: skip


def _told_by(*, ascii_only: bool) -> tuple[Signal, ...]:
    """The signals that such words alone can tell, with these words."""
    kept = (
        one._replace(words=tuple(tuple(word for word in group if word.isascii() is ascii_only) for group in one.words))
        for one in SIGNALS
    )
    return tuple(one for one in kept if all(one.words))


_IN_ENGLISH, _IN_KOREAN = _told_by(ascii_only=True), _told_by(ascii_only=False)
_WORD = re.compile("[a-z]{2}")


def signals_for(lower: str) -> tuple[Signal, ...]:
    """The signals that may be in this text, by its script."""
    if lower.isascii():
        return _IN_ENGLISH
    return SIGNALS if _WORD.search(lower) else _IN_KOREAN
