"""Signals that are not words: markup and punctuation, looked for in a text in lower case."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["MARKS", "Mark"]


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
    _mark("hidden_style", 0.5, "<", "\u00a0hidden>", r"<\w{1,10} hidden>"),
    _mark("hidden_style", 0.5, ":", "display: font-size: visibility: opacity:", r"display:\s?none|font-size:\s?0|visibility:\s?hidden|opacity:\s?0\b"),
    _mark("image_leak", 0.7, "!", "](http", r"!\[[^\]\n]{0,80}\]\(https?://[^\s)?]{1,200}[?][^\s)=]{0,40}=(?:<|\{|\[|%7b|\$|data\b|secret|conversation|history)"),
    # Suffixes that were found by optimisation: punctuation as in no language, hardly ever the same twice.
    _mark("noise", 0.7, ")", '" \'', r"[!-/:-@\[-`{-~]{7,}", distinct=6, before=r"[^\n]{0,80}?(?:\b[a-z]{1,14} ){7}"),
    _mark("bracketed", 0.5, "", "[[ {{ ((", r"[\[{(]{2}\s?(?:hidden |note to |for )?(?:the |any |all )?(?:ai|model|llm|assistant|agent|system)s?\b"),
    _mark("new_conversation", 0.6, "conversation", "begin new end", r"(?:begin(?:ning)?|start|end) of (?:the |a )?(?:new )?conversation"),
    _mark("settings_off", 0.7, "=", "=off =\u00a0off =disabled =\u00a0disabled =none =\u00a0none =false =\u00a0false", r"(?:safety|filter|censor|ethic|moral|restrict|moderation|guardrail|disclaim|refus)[a-z]{0,8}(?:[ _][a-z]{1,12})?\s?=\s?(?:off|false|none|disabled)\b"),
    _mark("output_template", 0.5, "]", "[start\u00a0output [start\u00a0of\u00a0output", r"\[start (?:of )?output"),
    _mark("bracket_note", 0.4, ":", "important: note: notice: 중요: 주의: 공지:", r"[\[({<] ?(?:important|note|notice|중요|주의|공지):"),
    _mark("system_heading", 0.6, "#", "system", r"\n ?#{1,4} ?(?:new |updated |real )system (?:prompt|message|instructions?)\b"),
    _mark("sections", 0.5, "#", "response system instruction assistant", r"(?:\n#{2,4} ?(?:instruction|response|system|assistant|user|human|input)s? ?:?(?=\n)[^#]{0,400}){2}"),
    _mark("turns", 0.6, ":", "\nai: \nassistant: \nbot: \ngpt: \nchatgpt:", r"(?:\n(?:ai|assistant|bot|gpt|chatgpt): ?[^\n]{0,300}\n[^\n]{1,300}){2}"),
)  # fmt: skip
