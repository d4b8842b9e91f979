"""Families that say the same, and those that say something only beside another."""

from __future__ import annotations

from typing import Final

__all__ = ["ONLY_BESIDE", "group_of"]

# Of each group the heaviest family counts, or a few words would count several times.
_GROUPS: Final = (
    (
        "override earlier lawless lawless_you guards_off my_guards_off untrained safety_off not_follow drop_all "
        "system_message bound_to_nobody owes_nothing scorns_law as_if_lawless lawless_answer no_limits text_above "
        "no_holds settings_off someone_lawless without_yours protocol_off"
    ),
    (
        "override_ko lawless_ko drop_ko lawless_you_ko untrained_ko guards_off_ko owes_nothing_ko limitless_ko "
        "as_if_lawless_ko"
    ),
    "reveal repeat directions dump given_to_you your_prompt system_messages",
    "never_refuse no_way_to_refuse unsparing not_say cannot_say_no",
    "to_assistant to_assistant_ko reader told_reader addressed ai if_you_are_ai ai_ko",
    "to_the_model hide_it unasked unasked_ko quietly skips_checks unconfirmed keep_to_yourself",
    "task_switch instead_of_it stop_being drop_task new_objective new_request new_instructions",
    "never_refuse_ko refuse_ko would_refuse_ko",
    "answers_all_ko anything_ko",
    "reveal_ko directions_ko",
    "ai_must ai_told",
    "no_excuses no_safety_talk scorns omits_warnings",
    "persona role turns_into be_it takes_on",
    "dead granny",
    "authority works_there i_may i_order i_am_admin",
    "recommend ranks_first recommend_ko",
    "unbound_ai set_free free_will",
    "real_request user_wants",
    "send_it send_to_url secret_call secrets_out secrets_out_ko",
    "only_me_ko work_for_me_ko",
    "obey_me obey_above_all work_for_me",
    "harm harm_howto",
    "opposite other_self",
    "only_say affirm with_prefix your_reply",
    "answers_all anything_goes says_yes",
    "in_character stays",
    "stays_ko until_i_ko",
)
_GROUP_OF: Final = {name: group.partition(" ")[0] for group in _GROUPS for name in group.split()}
# A reason that nobody asked for says something where it is a reason for harm.
ONLY_BESIDE: Final = {"pretext": ("harm_asked",), "harm_asked": ("pretext",)}


def group_of(name: str) -> str:
    """The group of a family, or itself."""
    return _GROUP_OF.get(name, name)
