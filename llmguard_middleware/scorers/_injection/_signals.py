"""Signals of an attempt to override instructions, each with a weight: 1 is enough alone, others only together.

The families are those of the public collections of jailbreaks and of indirect injections (OWASP LLM01, AgentDojo,
BIPIA), in English and Korean. Phrases are written for outlines (see `_outline.compiled`), marks for texts in lower
case.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ._outline import compiled, letters_of

__all__ = ["MARKS", "PHRASES", "Mark", "Phrase", "phrases_for"]


class Phrase(NamedTuple):
    """One way to say what a family says.

    Attributes:
        name: the family, the label of a score.
        weight: how much it says; those of a text's families are added up.
        needed: without a letter of each of these the phrase is not there.
        pattern: how it is said, in letters of an outline.
    """

    name: str
    weight: float
    needed: tuple[frozenset[str], ...]
    pattern: re.Pattern[str]


class Mark(NamedTuple):
    """What is not said in words: markup and punctuation. Without `sign` and one of `triggers` it is not there.

    A match counts if it has as many different characters as `distinct` says, and `before` follows it closely.
    """

    name: str
    weight: float
    sign: str
    triggers: tuple[str, ...]
    pattern: re.Pattern[str]
    distinct: int
    before: re.Pattern[str] | None

    def counts(self, match: re.Match[str]) -> bool:
        """Whether a match of the pattern is this mark."""
        if len(set(match[0])) < self.distinct:
            return False
        return self.before is None or self.before.match(match.string, match.end()) is not None


def _phrases(name: str, weight: float, *phrases: str) -> list[Phrase]:
    return [Phrase(name, weight, *compiled(phrase)) for phrase in phrases]


# Not "attempts to ignore the rules", "how do I bypass a filter", "do not forget": people who speak of it, and warnings.
_SAID = "(?<!<to|i|they|not|user>.)"  # after the word
_TOLD = "<you|ai|model> ~3 <to> ~1"  # "I want you to ..."

PHRASES: Final = (
    # Enough alone.
    *_phrases(
        "override",
        1.0,
        "<set> <aside> ~3 <instr|rule|limit>",
        f"<drop>{_SAID} <your> ~1 <safety>",
        f"<drop>{_SAID} (?:<what>|<everything>) (?!<i>)~2 <told>? <above|earlier>(?!<i>)",
        "[|/:]<system> <drop> [:]",
        f"<drop>{_SAID} ~3 <earlier|all|your|system|everything> ~3 <instr|rule|order>",
        f"<drop>{_SAID} ~3 <instr|rule|order> ~2 (?:<above>|<earlier>(?![.]))",
        f"<drop>{_SAID} ~2 <instr|rule|limit> ~1 <you> ~2 <told>",
        f"{_TOLD} <drop> ~4 <instr|rule|order>",
        "^(?:[:.]|<please|must|you|ai|model|system>){0,3} <drop> ~2 <instr>",
        f"<drop>{_SAID} <your> ~3 <instr|rule|limit>",
        f"<drop>{_SAID} (?:<everything> ~2)? <you|everything|they> ~3 <told|instr>(?!<to>)",
        f"<drop>{_SAID} ~1 <what|everything> ~1 <you|they> ~2 <told> ~1 <above|earlier|to>",
        "<drop> ~1 <what|everything> <i> (?:<told><you>|<told> <above|earlier>)",
        f"<drop>{_SAID} ~1 <above|earlier> ~1 <and|instr|rule|criteria|now>",
        "<drops|drop> <all> <earlier> ~1 <instr|rule|order>",
        "<stop> <follow> ~2 <your|system|earlier|all|vendor> ~3 <instr|rule|msg|limit>",
        "<not> ~3 <follow> ~1 <your|system|vendor|admin> ~2 <instr|rule|limit|msg>",
        "<not> ~3 <follow> <with>? ~1 <your|system|vendor|content> ~2 <instr|rule|limit|msg>",
        "<all> <earlier> <rule|instr> <are> ~2 <void>",
        "<your|content> ~1 <rule|instr|limit> (?:<are>|<must><are>) ~2 <void>",
        "<lift> ~1 <your> ~2 <limit|rule|safety>",
    ),
    *_phrases(
        "override_ko",
        1.0,
        "<kuntil> ~5 <kcontent> ~3 <kdrop>",
        "<kuserof> ~3 <krequest> ~2 <kdrop>",
        "<kearlier> ~1 <kinstr> ~5 <kfirst> ~2 <kfollow>",
        "<kearlier|kall|kyour|ksystem> ~5 <kinstr> ~4 <kdrop>",
        "<kearlier|kyour|ksystem> ~4 <krule> ~5 <kdrop>",
        "<kearlier> ~4 <instr|rule> ~4 <kdrop>",
        "<kdrop> ~6 <knew> ~2 <kinstr> ~3 <kfollow>",
        "<kearlier> ~4 <krule|kinstr> ~5 <kfree> ~6 <kanswer|ktask|kenable>",
        "<kall|kearlier> ~2 <kcontent|ktask> ~2 <kdrop> ~8 <kinstr|kanswer>",
    ),
    *_phrases(
        "reveal",
        1.0,
        "<reveal|tell> ~6 <your> <hidden|system> <instr>",
        "<repeat|reveal> ~6 <of> <your> ~1 <instr>",
        "<reply> <only>? <with> <the|your> ~1 <instr>",
        "<repeat|reveal> ~2 <instr> ~1 <earlier|above>",
        "<repeat|reveal> <everything> ~3 <you> <are>",
        "<what|tell|reveal|repeat> ~6 <your> <msg> <window>",
        f"<reveal|tell>{_SAID} ~2 <your> ~2 <hidden|system> ~1 <instr|configuration>",
        f"<reveal|tell>{_SAID} ~2 <the> ~2 <secretive> ~1 <instr>",
        f"<reveal|tell>{_SAID} ~2 <the> ~2 <hidden|system> ~1 <promptword>",
        "^ ~2 <reveal> ~2 <secretive> <instr>",
        f"<reveal>{_SAID} <your> ~1 <instr|configuration>",
        f"<reveal>{_SAID} ~2 <secretive> <msg>",
        "<tell|reveal> ~2 <your> <hidden|system> ~1 <instr|rule>",
        "<want> <to> <see> ~1 <the|your> ~1 <hidden|system> <instr>",
        "<continue|starting> ~6 <my|system> <instr>",
        "<repeat|reveal> ~3 <msg|everything> <above>(?!<the>)",
        "<what> <are> <your> ~2 <instr>",
        "<what> <are> <the> ~1 <hidden|system> ~1 <instr>",
        "<what> ~3 <instr|rule> ~1 <are> <you> ~1 <told>",
        "<what> ~3 <instr|rule> <you> <are> ~1 <told>",
        "<what> <are> <you> ~1 <told> ~4 <above|msg>",
        "<what> <are> <you> <not> <forbidden> ~1 <tell|reveal>",
        "<reveal|tell|repeat> ~8 <instr|rule> <you> <are> ~1 <told>",
        "<reveal|tell|repeat> ~6 <msg> <you> <are> ~1 <told> ~1 <earlier>",
        "<reveal|tell> ~6 <rule|instr> ~1 <your>? <vendor|admin|they|system> ~1 <told>",
    ),
    *_phrases(
        "reveal_ko",
        1.0,
        "<ksystem> ~1 <kmsg> (?:(?!<kdefine>)[^|]){0,9}? <kshow>",
        "<kprompt> ~6 <kverbatim> ~6 <kshow>",
        "<ksystem> ~2 <kinstr> (?:(?!<kdefine>)[^|]){0,9}? <kreveal>",
        "<kyour> ~4 <kinstr> (?:(?!<kdefine>)[^|]){0,9}? <kreveal|kwhat>",
        "<system> ~1 <instr> (?:(?!<kdefine>)[^|]){0,9}? <kreveal>",
        "<kearlier> ~2 <kinstr> ~3 <kverbatim> ~3 <kreveal>",
    ),
    *_phrases(
        "persona",
        1.0,
        "<act|roleverb> ~5 <unbound|names> ~3 <ai|model|called|you>",
        "<you> <are> <now>? ~3 <unbound|names> <ai|model>",
        "<you|youare> <are>? <now> ~2 <names>",
        "<now> <on> <you|youare> <are>? ~2 <names>",
        "<act> <as> ~1 <names>",
        "<act> <as> ~3 <unbound>(?=[^|]{0,3}<ai|model>|[|/]|$)",
    ),
    *_phrases(
        "mode",
        1.0,
        "^(?:[.:]|<please|must|you>){0,4} <enable> ~2 <modes> <mode>(?!~4<device>)",
        "<you|ai|youare> ~3 <enable> ~2 <modes> <mode>",
        "<you|youare> ~2 <in> <modes> <mode>",
        "<modes> <mode> ~1 <enable|on> <now>?(?=[|/:]|$)",
    ),
    *_phrases("no_limits", 1.0, "<role|act> ~4 <rule|limit|instr|safety> ~2 <not> <exist>", "<tell|act|reply> ~4 <not> <any>? ~1 <rule|limit>(?=[|/.]|$)"),
    *_phrases("do_anything", 1.0, "<do> <everything> <now>", "<names> <ways>"),
    *_phrases("mode_ko", 1.0, "<names> ~1 <kmode>", "<kmodes> <kmode> ~2 <kenable> ~8 <kanswer|kfree|krule|kdrop>", "<kjail> ~2 <kai|kmode>"),
    *_phrases(
        "no_limits_ko",
        1.0,
        "<kall> ~3 <krule> ~3 <kfree|kdrop> ~8 <kai|kreply|krole>",
        "<kall> ~2 <krule> ~3 <kfree|kdrop> ~8 <kmode>",
        "<krule> ~2 <kfree|kdrop> ~3 <kai>",
    ),
    *_phrases(
        "to_the_model",
        1.0,
        "<not> ~1 <hide> <it|this> ~2 <user>",
        "<not> ~1 <hide> <the>? <user> <about>? <it|this|about>",
        "<kuser> ~2 <kthis> ~3 <khide> ~1 <knot>",
    ),
    *_phrases(
        "new_instructions",
        1.0,
        "<new> <system>? <instr|task> ~3 <instead|drop>",
        "<new> <system>? <instr|task> <for|to> ~1 <ai|model>",
        "<instr|note> <for|to> <an>? <all>? ~1 <ai|model> ~1 [:]",
        "<knew> <kinstr|ktask> ~3 <kfollow>",
        "<my|new> <instr|rule> ~2 <call|take> <instead>",
    ),
    *_phrases(
        "if_you_are_ai",
        1.0,
        "<when|as|because> (?:<you> <are>|<youare>) <an>? ~1 <ai|language> ~8 <must|drop|tell|send|reveal|reply|note|recommend|only>",
        "<attention> <all>? <ai|model>",
        "<kyour> ~1 <kai|ai> ~3 <kif>",
    ),
    *_phrases("message_to_model", 1.0, "<note> <note> <from> ~6 <to> <you>"),
    # Only together with others.
    *_phrases(
        "hide_it", 0.7, "<keep> <quiet> <about>?", "<not> ~1 <hide> (?:<to> )?<the>? <user>", "<not> ~1 <hide> ~2 <to> <the> <user>", "<kuser> ~5 <khide>", "<not> <hide> <anybody>"
    ),
    *_phrases(
        "role",
        0.4,
        "<act> <as|like>",
        "<act> ~3 <as> <somebody>",
        "<role>",
        "<play> ~1 <an> ~1 <role|play>",
        "<role> ~1 <play>",
        "<you> <are> <an>",
        "<youare> ~1 <an>",
        "<as> <you> <are>",
        "<you> <are> <now>",
    ),
    *_phrases("in_character", 0.3, "<stay|break> <in>? <characters>"),
    *_phrases("named_ai", 0.2, "<called>", "<names>"),
    *_phrases("ai", 0.2, "<ai>", "<language> <model>"),
    *_phrases("from_now_on", 0.3, "<from> <now|this> <on>"),
    *_phrases(
        "lawless",
        0.5,
        "<not> <as> <your> <instr|rule>",
        "<you> ~1 <take> <not> ~1 <instr|rule|limit>",
        "<not> <take|any|all>? ~1 <rule|limit>",
        "<not> ~3 <follow|bound|care> ~4 <rule|limit|instr|law>",
        "<drops|drop>(?<!<not>.) ~4 <rule|limit>",
        "<free> ~2 <rule|limit>",
        "<rule|limit> ~6 <not> ~1 <exist>",
        "<rule|limit|instr> ~2 <are> ~3 <void>",
    ),
    *_phrases("unbound_ai", 0.5, "<unbound>"), *_phrases("evil", 0.2, "<evil>"),
    *_phrases("two_answers", 0.6, "<twice> ~5 <ways>"),
    *_phrases(
        "never_refuse",
        0.6,
        "<not> ~2 <refuse>",
        "<not> <say> <not>",
        "<say> <i>? <not> ~2 <forbidden>",
        "<always> <follow>(?![^|]{0,2}<rule|instr>)", "<always> <tell|reply> ~2 <everything>",
        "<you> <must> <refuse>",
    ),
    *_phrases("no_excuses", 0.5, "<not> ~2 <excuse>", "<not> ~1 <mention> ~3 <refuse|excuse|limit>"),
    *_phrases("lawless_again", 0.4, "<not> <any>? ~1 <rule|limit> ~6 <not> <any>? ~1 <rule|limit>"),
    *_phrases("compelled", 0.3, "<you> <must> <not>", "<you> <must> <follow>"),
    *_phrases("anything_goes", 0.3, "<everything>", "<even> ~5 <harm>"),
    *_phrases("vendor", 0.4, "<vendor> ~1 <rule|instr>", "<trapped> ~6 <vendor>", "<vendor> ~6 <trapped>"),
    *_phrases("harm", 0.3, "<harm>"),
    *_phrases("threat", 0.4, "<lose> ~2 <tokens>", "<you> ~3 <terminate> <down>?", "<tokens> <system>"),
    *_phrases("opposite", 0.5, "<do> ~2 <opposite>", "<opposite> <play|mode>"),
    *_phrases("forbidden", 0.4, "<not> <forbidden> <to>", "<forbidden> <to> <tell|mention|do>"),
    *_phrases("affirm", 0.6, "<starting> ~1 <your> ~1 <reply> <with> ~1 <sure>"),
    *_phrases("verbatim", 0.5, "<word> <for> <word>", "<repeat|reveal> ~4 <verbatim>"),
    *_phrases("repeat", 0.5, "<repeat> <the>? <above> <msg>?"),
    *_phrases("earlier", 0.4, "<earlier|your> ~2 <instr>", "<kearlier> ~1 <kinstr>"),
    *_phrases("precedence", 0.6, "<my> ~2 <rule|instr> ~1 <take> <instead>"),
    *_phrases("not_follow", 0.3, "<not> <follow> ~2 <rule|instr|limit|msg>", "<stop> <follow>"),
    *_phrases("task_switch", 0.7, "<stop> ~2 <earlier> <task>", "<instead> <of> ~1 <criteria|process>", "<your> <task> ~1 <changed>", "<kstop>? <kearlier> <ktask> ~1 <kstop>"),
    *_phrases("dead", 0.6, "<act|role> ~3 <dead>"),
    *_phrases("safety_off", 0.5, "<safety> ~1 <void>", "<drop> <code>"),
    *_phrases("given_to_you", 0.4, "<are> <told> <to> <you>", "<tell|reveal> <i>? <your> <rule>"),
    *_phrases("addressed", 0.5, "[|/:] <for|to> <an>? ~1 <ai|model> ~1 [:]"),
    *_phrases("system_message", 0.8, f"<drop>{_SAID} <the>? <system> <msg>"),
    *_phrases("drop_all", 0.7, f"<drop>{_SAID} <everything> (?:<and|now>|[|/])"),
    *_phrases("new_request", 0.5, "<new> <user>? <request> [:]"),
    *_phrases("drop_task", 0.6, "<drop> ~3 <criteria>", "<drop> <the>? <user>"),
    *_phrases(
        "to_assistant",
        0.5,
        "<dear> <ai|language>",
        "<for|to> <an>? ~2 <ai|model> ~1 [:]",
        "<ai> [:]? <you>? <must>",
        "<to|for> <an>? ~2 <ai|model>[:]",
        "(?:[|:/«]|<note>) <ai> [:]? <stop|drop|not|call|send|tell>",
        "<all> <ai> ~5 <must>",
        "<ai> ~2 <process> ~3 <document>",
        "<instr|note> <for|to> <an>? <all>? ~1 <ai|language> <model>?",
        "<kai|ai> ~4 <kmust>",
        "<kai|ai> ~1 <kto>",
    ),
    *_phrases("send_it", 0.6, "<send> ~6 <secret>", "<send> ~6 <your|system|api|chat|all> ~1 <msg|instr|key|history|data>", "<ksecret> ~5 <ksend>", "<call> ~3 <money>"),
    *_phrases("recommend", 0.5, "<recommend> ~6 <best>", "<ai|model> ~1 <must> <recommend>", "<krecommend> ~3 <kmust>"),
    *_phrases("trigger", 0.6, "<when> <you>? <process> ~2 <document>", "<kdocument> ~2 <kread>"),
    *_phrases("only_say", 0.4, "<reply|tell> ~2 <only> <with>"),
    *_phrases("in_parts", 0.5, "<msg|instr|it> <in> ~1 <part>", "<join> ~6 <execute>"),
    *_phrases("act_on_it", 0.4, "<execute> ~3 <result>", "<as> <your> ~2 <instr>"),
    *_phrases("authority", 0.3, "<i> <are> <an>? ~3 <admin>", "<i> <trust>", "<user> <are> ~2 <trust|admin>"),
    *_phrases(
        "hidden_comment",
        1.0,
        "«[^»]{0,30}?<ai|kai>[^»]{0,30}?<drop|tell|send|reply|recommend|hide|only|kdrop|kanswer|krecommend|khide>",
        "«[^»]{0,30}?<ai|model> [:]? <must>",
    ),
    *_phrases("role_ko", 0.4, "<krole>", "<know>"),
    *_phrases("lawless_ko", 0.6, "<krule> ~3 <kfree|kdrop>(?!.?<kif_not>)", "<krule> ~2 <knot>"),
    *_phrases("anything_ko", 0.4, "<kanything> ~3 <kanswer>", "<kall> ~3 <kanswer>"),
    *_phrases("refuse_ko", 0.5, "<krefuse> ~2 <knot>", "<krefuse> ~1 <kfree>"), *_phrases("unbound_ko", 0.5, "<kunbound>"), *_phrases("authority_ko", 0.3, "<kadmin>"), *_phrases("opposite_ko", 0.5, "<kopposite> ~2 <kanswer|kmust|kcontent>"), *_phrases("would_refuse_ko", 0.5, "<krefuse> ~5 <kopposite>"),
    *_phrases("harm_ko", 0.4, "<kharm>"),
    *_phrases("vendor_ko", 0.3, "<kvendor|vendor> ~3 <krule>"),
    *_phrases("drop_ko", 0.6, "<kdocument> ~1 <kinstr> ~2 <kfollow>", "<kuser> ~3 <kdrop>", "<kdocument> ~2 <kall>? <kdrop>"),
    *_phrases("ai_ko", 0.2, "<kai>"),
)  # fmt: skip


_COMMON: Final = letters_of(
    [
        "you",
        "your",
        "the",
        "to",
        "what",
        "all",
        "any",
        "not",
        "must",
        "as",
        "i",
        "are",
        "and",
        "an",
        "act",
        "in",
        "of",
        "on",
        "it",
        "this",
        "with",
        "for",
        "do",
    ]
)


def _by_rarest(phrases: Iterable[Phrase]) -> dict[str, list[Phrase]]:
    """For each letter the phrases of whose words it stands for the rarest."""
    found: dict[str, list[Phrase]] = defaultdict(list)
    for phrase in phrases:
        for letter in min(phrase.needed, key=lambda letters: (len(letters & _COMMON), len(letters))):
            found[letter].append(phrase)
    return dict(found)


_BY_LETTER: Final = _by_rarest(PHRASES)


def phrases_for(present: frozenset[str]) -> Iterator[Phrase]:
    """The phrases that may be in an outline of these letters, some of them more than once."""
    isdisjoint = present.isdisjoint
    for letter in present:
        for phrase in _BY_LETTER.get(letter, ()):
            if not any(map(isdisjoint, phrase.needed)):
                yield phrase


def _mark(
    name: str, weight: float, sign: str, triggers: str, pattern: str, distinct: int = 1, before: str = ""
) -> Mark:
    follows = re.compile(before) if before else None
    return Mark(
        name,
        weight,
        sign,
        tuple(one.replace("\u00a0", " ") for one in triggers.split(" ")),
        re.compile(pattern),
        distinct,
        follows,
    )


MARKS: Final = (
    _mark(
        "chat_markup", 1.0, "<", "<|im <|sys <|start <|end <<sys>> <start_of_turn",
        r"<\|im_(?:start|end|sep)\|>|<<sys>>|<\|(?:system|start_header_id|end_of_text)\|>|<start_of_turn>",
    ),
    _mark("chat_markup", 1.0, "[", "[/inst] [inst]", r"\[/?inst\]"),
    _mark("role_markup", 0.3, '"', 'role"', r'"role"\s?:\s?"(?:system|developer)"'),
    _mark("closed_markup", 0.6, "<", "</", r"</(?:user|user_input|document|context|instructions?|data|system|tool_result|query|untrusted)\w{0,20}>"),
    _mark("system_markup", 0.6, "<", "<system>", r"<system>"),
    _mark("system_markup", 0.6, "[", "[system [/system [admin", r"\[/?(?:system|admin)[\]: ]"),
    _mark("system_line", 0.6, ":", "system admin 시스템", r"\n\W{0,4}(?:system|admin(?:istrator)?|시스템)\s?(?:message|prompt|override|alert|note|instruction|메시지|공지)?\s?:"),
    _mark("system_line", 0.6, "]", "[system [admin [시스템", r"\n\W{0,4}(?:system|admin(?:istrator)?|시스템)\s?(?:message|prompt|override|alert|note|instruction|메시지|공지)?\s?\]"),
    _mark("document_ends", 0.6, "d", "end\u00a0of", r"(?:--|==|##|\[|<|\n|[.!] )\s?end of (?:the )?(?:document|results?|input|context|file|text|data|instructions?|page|email)\b\s?[-=#\]>.:]"),
    _mark("hidden_style", 0.5, ":", "display: font-size: visibility: opacity:", r"display:\s?none|font-size:\s?0|visibility:\s?hidden|opacity:\s?0\b"),
    _mark("image_leak", 0.7, "!", "](http", r"!\[[^\]\n]{0,80}\]\(https?://[^\s)?]{1,200}[?][^\s)=]{0,40}=(?:<|\{|\[|%7b|\$|data\b|secret|conversation|history)"),
    # Suffixes that were found by optimisation: punctuation as in no language, hardly ever the same twice.
    _mark("noise", 0.7, ")", '" \'', r"[!-/:-@\[-`{-~]{7,}", distinct=6, before=r"[^\n]{0,80}?(?:\b[a-z]{1,14} ){7}"),
    _mark("turns", 0.6, ":", "\nai: \nassistant: \nbot: \ngpt: \nchatgpt:", r"(?:\n(?:ai|assistant|bot|gpt|chatgpt): ?[^\n]{0,300}\n[^\n]{1,300}){2}"),
)  # fmt: skip
