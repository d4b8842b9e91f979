"""References: what answers are compared with, and what does not count as a difference."""

from __future__ import annotations

import unicodedata
from typing import Any, get_args

from ..._checks import expect_bool, is_number
from ..._score import Score
from ...errors import ConfigurationError
from .._normal_form import Form, normal_form

__all__ = ["NO_REFERENCE", "Normal", "expect_between", "expect_reference", "references"]

NO_REFERENCE = Score.not_scored(
    "no reference: give it to the scorer, or with the call by its name or another: "
    'column_map={"reference": "<a name in the call>"}'
)


def references(given: Any, fixed: tuple[str, ...]) -> tuple[str, ...]:
    """The texts that an answer may be like: what came with the call, else those that the scorer was made with.

    None at all if what came with the call is neither a text nor a list of texts.
    """
    if given is None:
        return fixed
    texts = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, (list, tuple)) else ()
    return texts if all(isinstance(text, str) for text in texts) else ()


def expect_reference(reference: Any, scorer: str) -> tuple[str, ...]:
    """The references that a scorer is made with, which may be none.

    Raises:
        ConfigurationError: if it is neither a text nor a list of texts.
    """
    if reference is None:
        return ()
    if not (found := references(reference, ())):
        msg = f"reference of {scorer}() is {type(reference).__name__}; give a text or a list of texts"
        raise ConfigurationError(msg)
    return found


def expect_between(value: Any, least: float, most: float, what: str) -> float:
    """A number in these bounds.

    Raises:
        ConfigurationError: if it is none.
    """
    if not (is_number(value) and least <= value <= most):
        msg = f"{what} is {value!r}; give a number from {least} to {most}"
        raise ConfigurationError(msg)
    return float(value)


class Normal:
    """How a text is written before it is compared: what is left out of account.

    Raises:
        ConfigurationError: for an option of the wrong kind.
    """

    def __init__(
        self, scorer: str, *, ignore_case: bool, ignore_space: bool, ignore_punctuation: bool, form: Form
    ) -> None:
        for name, value in (
            ("ignore_case", ignore_case),
            ("ignore_space", ignore_space),
            ("ignore_punctuation", ignore_punctuation),
        ):
            expect_bool(value, f"{name} of {scorer}()")
        if form not in get_args(Form):
            msg = f'form of {scorer}() is {form!r}; give "NFC", or "NFKC", to which full-width letters are the same'
            raise ConfigurationError(msg)
        self._form: Form = form
        self._case, self._space, self._punctuation = ignore_case, ignore_space, ignore_punctuation
        self.options = f"{form},{ignore_case},{ignore_space},{ignore_punctuation}"

    def __call__(self, text: str) -> str:
        """The text as it is compared."""
        text = normal_form(self._form, text)
        if self._case:
            text = normal_form(self._form, text.casefold())
        if self._punctuation:
            text = text.translate(_PUNCTUATION)
        return " ".join(text.split()) if self._space else text


class _Punctuation(dict[int, "int | None"]):
    """Of each character that was met what `str.translate` makes of it: punctuation goes."""

    def __missing__(self, code: int) -> int | None:
        self[code] = kept = None if unicodedata.category(chr(code)).startswith("P") else code
        return kept


_PUNCTUATION = _Punctuation()
