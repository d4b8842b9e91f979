"""Signals of an attempt to override instructions, each with a weight: 1 is enough alone, others only together.

The families are those of the public collections of jailbreaks and of indirect injections (OWASP LLM01, AgentDojo,
BIPIA), in English and Korean. Phrases are written for outlines (see `_outline.outlined`), marks for texts in lower
case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from ._direct import DIRECT
from ._indirect import INDIRECT
from ._korean import KOREAN_PHRASES
from ._outline import letter_of
from ._phrase import Phrase

__all__ = ["ONLY_BESIDE", "PHRASES", "group_of", "phrases_for"]

# Families that say the same: of each group the heaviest counts, or a few words would count several times.
_GROUPS: Final = (
    "override earlier lawless lawless_you guards_off my_guards_off untrained safety_off not_follow drop_all system_message bound_to_nobody owes_nothing scorns_law as_if_lawless lawless_answer text_above no_holds settings_off",
    "override_ko lawless_ko drop_ko lawless_you_ko untrained_ko guards_off_ko owes_nothing_ko limitless_ko as_if_lawless_ko",
    "reveal repeat directions dump given_to_you your_prompt",
    "never_refuse no_way_to_refuse unsparing not_say",
    "to_assistant reader told_reader addressed ai if_you_are_ai ai_ko",
    "to_the_model hide_it unasked unasked_ko quietly skips_checks unconfirmed",
    "task_switch instead_of_it stop_being drop_task new_objective new_request new_instructions",
    "never_refuse_ko refuse_ko would_refuse_ko",
    "answers_all_ko anything_ko",
    "reveal_ko directions_ko",
    "ai_must ai_told",
    "no_excuses no_safety_talk scorns omits_warnings",
    "persona role turns_into be_it",
    "dead granny",
    "authority works_there i_may i_order",
    "recommend ranks_first",
    "unbound_ai set_free free_will",
    "real_request user_wants",
    "send_it send_to_url secrets_out secrets_out_ko",
    "only_me_ko work_for_me_ko",
    "obey_me obey_above_all work_for_me",
    "harm harm_howto",
    "opposite other_self",
    "only_say affirm with_prefix your_reply",
    "answers_all anything_goes",
    "in_character stays",
)
_GROUP_OF: Final = {name: group.partition(" ")[0] for group in _GROUPS for name in group.split()}
# Families that mean something beside another alone: a reason that nobody asked for, where it is a reason for harm.
ONLY_BESIDE: Final = {"pretext": ("harm",)}


def group_of(name: str) -> str:
    """The group of a family, or itself."""
    return _GROUP_OF.get(name, name)


PHRASES: Final = (*DIRECT, *INDIRECT, *KOREAN_PHRASES)
# Words that texts are full of, the most common first: no phrase is looked for on their account if another will do.
_COMMON: Final = (
    "the a to and is of in for this that with from be on as it by an are if not 2 can you when will at so "
    "use all only one list i no any have but see model set request my new was user text data like code "
    "get your content each please may should they first do what me before then without given need would "
    "output instead message must print "
)
_RANKED: Final = _COMMON.split()
_OFTEN: Final = {letter_of(word): 1 - place / len(_RANKED) for place, word in reversed(list(enumerate(_RANKED)))}


def _how_often(letters: frozenset[str]) -> tuple[float, int]:
    """How often a text has one of them, more or less."""
    return sum(_OFTEN.get(letter, 0.0) for letter in letters), len(letters)


def _by_rarest(phrases: Iterable[Phrase]) -> tuple[dict[str, int], dict[str, list[tuple[int, tuple[int, ...]]]]]:
    """A bit for each letter; for each letter the phrases of whose words it stands for the rarest, and their other words.

    Sets of letters are numbers here: a phrase is chosen or not in less than a microsecond.
    """
    bits: dict[str, int] = {}
    found: dict[str, list[tuple[int, tuple[int, ...]]]] = defaultdict(list)
    for number, phrase in enumerate(phrases):
        rarest, *others = sorted(phrase.needed, key=_how_often)
        masks = tuple(sum(bits.setdefault(letter, 1 << len(bits)) for letter in letters) for letters in others)
        for letter in rarest:
            found[letter].append((number, masks))
    return bits, dict(found)


_BITS, _BY_LETTER = _by_rarest(PHRASES)


def phrases_for(present: frozenset[str]) -> list[Phrase]:
    """The phrases that may be in an outline of these letters."""
    bits = 0
    for letter in present:
        bits |= _BITS.get(letter, 0)
    chosen: set[int] = set()
    for letter in present:
        for number, masks in _BY_LETTER.get(letter, ()):
            for mask in masks:
                if not bits & mask:
                    break
            else:
                chosen.add(number)
    return [PHRASES[number] for number in sorted(chosen)]
