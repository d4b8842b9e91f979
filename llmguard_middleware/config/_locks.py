"""Locked rules: what counts as weaker. Whatever cannot be shown to be as strong as before does.

A guardrail is weaker if

- its `action` comes later in this order: block, reask and replace, redact, hash, encrypt, pseudonymize, mask, log; or
  it is the same and shows more (a larger `keep_last` of mask, `restore_tools` of pseudonymize);
- `on_error` becomes allow. Where it is allow already, anything that makes the scorer give up earlier is weaker too: a
  shorter `timeout`, a breaker that opens after fewer failures or for longer;
- `active` becomes false;
- its threshold is harder to reach: a higher `above`, a lower `below`, one that is taken away, or one where the scorer
  itself decided;
- something is added to `allow`;
- `roles`, `where` or `stage` take in less: a role, a value or a stage is gone, or a key of `where` is added. Rules that
  edit are for all roles unless they say otherwise and the others for users and tools, so that another action may
  take roles away;
- it has another `scorer`, other `options` or other `args`;
- it begins to `race`, or its `stream` becomes window;
- it is unlocked.

Not weaker: a longer `timeout`, another `description`, a `cache`, and whatever is stronger. A monitor is weaker if it is
unlocked or switched off, its `sample` is smaller, its `where` takes in less, `on` becomes outermost, its `timeout` is
shorter, or it has another scorer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ._rule import Rule

__all__ = ["weaker"]

_EDITING = ("replace", "redact", "hash", "encrypt", "pseudonymize", "mask")
_STRENGTH = {"block": 0, "reask": 1, **{word: number for number, word in enumerate(_EDITING, 1)}, "log": 7}
_ALL_ROLES = frozenset({"system", "user", "assistant", "tool"})

Settled = dict[str, Any]


def weaker(before: Rule, after: Rule) -> Iterator[tuple[str, str]]:
    """In which fields `after` is weaker than the locked rule `before`, and why."""
    if not after.locked:
        yield "locked", "it cannot be unlocked"
    old, new = before.settled(), after.settled()
    for name in ("scorer", "options", "args"):
        if old[name] != new[name]:
            yield name, f"{name} cannot be changed"
    if old["active"] and not new["active"]:
        yield "active", "it cannot be switched off"
    if why := _narrower(old["where"], new["where"]):
        yield "where", why
    yield from _guardrail(old, new) if before.kind == "guardrail" else _monitor(old, new)


def _guardrail(old: Settled, new: Settled) -> Iterator[tuple[str, str]]:
    if why := _milder(old, new):
        yield "action", why
    for name, word in (("stage", "stage"), ("roles", "role")):
        gone = _covered(old, name) - _covered(new, name)
        if gone:
            yield name if old["action"] == new["action"] else "action", f"{word} {', '.join(sorted(gone))} would go"
    if hard := _harder(old, new):
        yield hard
    if extra := _allowed(new) - _allowed(old):
        yield "allow", f"nothing can be added to allow, which is {len(extra)} longer"
    if new["race"] and not old["race"]:
        yield "race", "it cannot be made to race"
    if new["stream"] == "window" and old["stream"] == "hold":
        yield "stream", "stream cannot become window"
    yield from _gives_up_earlier(old, new)


def _monitor(old: Settled, new: Settled) -> Iterator[tuple[str, str]]:
    if new["sample"] < old["sample"]:
        yield "sample", f"sample can be no less than {old['sample']}"
    if new["on"] == "outermost" and old["on"] == "every":
        yield "on", "on cannot become outermost"
    if new["timeout"] < old["timeout"]:
        yield "timeout", f"timeout can be no less than {old['timeout']}"


def _milder(old: Settled, new: Settled) -> str | None:
    before, after = old["action"], new["action"]
    if _STRENGTH[after] > _STRENGTH[before]:
        return f"action {after} is weaker than {before}"
    if before == after == "mask" and new["action_options"].get("keep_last", 0) > old["action_options"].get(
        "keep_last", 0
    ):
        return f"keep_last can be no more than {old['action_options'].get('keep_last', 0)}"
    tools = [one["action_options"].get("restore_tools", False) for one in (old, new)]
    return "restore_tools cannot become true" if before == after and tools == [False, True] else None


def _covered(rule: Settled, name: str) -> frozenset[str]:
    if name == "stage":
        return frozenset([rule["stage"]] if isinstance(rule["stage"], str) else rule["stage"] or ())
    if "input" not in _covered(rule, "stage"):
        return frozenset()  # roles are looked at there only
    if rule["roles"] is not None:
        return frozenset(rule["roles"])
    return _ALL_ROLES if rule["action"] in _EDITING else frozenset({"user", "tool"})


def _harder(old: Settled, new: Settled) -> tuple[str, str] | None:
    above, below = old["above"], old["below"]
    if above is None and below is None:
        changed = next((name for name in ("above", "below") if new[name] is not None), None)
        return None if changed is None else (changed, "the scorer decides what is flagged; no threshold can be set")
    if above is not None and (new["above"] is None or new["above"] > above):
        return "above", f"above can be no more than {above}"
    if below is not None and (new["below"] is None or new["below"] < below):
        return "below", f"below can be no less than {below}"
    return None


def _allowed(rule: Settled) -> frozenset[tuple[str, str]]:
    return frozenset(
        ("text", one.casefold()) if isinstance(one, str) else ("pattern", one["pattern"]) for one in rule["allow"]
    )


def _narrower(old: Any, new: Any) -> str | None:
    if new is None:
        return None
    for key, wanted in new.items():
        if old is None or key not in old:
            return f'where cannot ask for "{key}"'
        if _values(old[key]) - _values(wanted):
            return f'where cannot leave out a value of "{key}"'
    return None


def _values(wanted: Any) -> frozenset[tuple[bool, Any]]:
    return frozenset((isinstance(one, bool), _plain(one)) for one in (wanted if isinstance(wanted, list) else [wanted]))


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, bool, int, float)) else repr(value)  # which no filter takes, and is told


def _gives_up_earlier(old: Settled, new: Settled) -> Iterator[tuple[str, str]]:
    if new["on_error"] == "block":
        return
    if old["on_error"] == "block":
        yield "on_error", "on_error cannot become allow"
        return
    if new["timeout"] < old["timeout"]:
        yield "timeout", f"timeout can be no less than {old['timeout']} while on_error is allow"
    before, after = old["breaker"], new["breaker"]
    if after is not None and (
        before is None or after["failures"] < before["failures"] or after["cooldown"] > before["cooldown"]
    ):
        yield "breaker", "breaker cannot open earlier or for longer while on_error is allow"
