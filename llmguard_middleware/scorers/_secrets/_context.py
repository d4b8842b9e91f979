"""Values that the words before them call a secret: an assignment, a header, a connection string, a sentence."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from .._runs import Run, Span, covered

__all__ = ["BEHIND", "CONTEXTS", "LONGEST", "URL", "Context", "begun"]

BEHIND: Final = 96  # characters, from the start of the word to that of the value
LONGEST: Final = 256  # of a value
_BITS = 3.0  # a character; words of a language have less, random hexadecimal digits 3.5 and more
_LEAST_TOKEN, _LEAST_PASSWORD = 16, 6

# The rest of the name, quotes and brackets, what says "is", and quotes again.
_IS = (
    r"[A-Za-z0-9_\-]{0,24}[\"'`\])]{0,3}[ \t]{0,8}"
    r"(?:=>|:=|==?|:|\b(?:is|was)\b:?|은|는|이|가|,(?=[ \t]{0,2}[\"']))[ \t]{0,8}"
    r"(?:\\?[\"'`]|b[\"']|[Bb]earer[ ]|[Bb]asic[ ]){0,2}"
)
_TOKEN = rf"(?P<value>[A-Za-z0-9_\-./+=~]{{{_LEAST_TOKEN},{LONGEST}}})(?![A-Za-z0-9_(])"
# A password holds any signs; in a connection string it ends at a semicolon.
_PASSWORD = rf"(?P<value>[!#-&*-:=?-\[\]-~]{{{_LEAST_PASSWORD},{LONGEST}}})"
_BETWEEN = 64  # characters between a word and its value, at most
_NO_TOKEN, _NO_PASSWORD = re.compile(r"[^A-Za-z0-9_\-./+=~]"), re.compile(r"[^!#-&*-:=?-\[\]-~]")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_STANDS_FOR = re.compile(
    r"[Yy]our|YOUR|example|[Pp]laceholder|[Rr]edacted|REDACTED|change_?me|x{4}|X{4}|\*{3}|<|\$[{(]|^\{|\{\{|%\(|\.\.\.|^\$|"
    r"process\.env|environ|getenv|^arn:|^https?:"
)
_PATH = re.compile(r"[.~]{0,2}/[A-Za-z]")  # PWD is where a shell is
_VERSION = re.compile(r"[v^~=<>]{0,2}[0-9]+(?:\.[0-9]+)+")
_TURN = re.compile("[0-9](?=[A-Za-z])|[A-Za-z](?=[0-9])")
_TURNS = 2  # from letters to digits and back, at least: `bert-base-v2` has one
_NO_LETTER, _LETTER = re.compile("[0-9!@#$%^&*?~+]"), re.compile("[A-Za-z]")


class Context(NamedTuple):
    """A kind of secret that is told by words.

    Attributes:
        kind: its name in scores.
        words: in lower case; any of them stands before the value.
        stems: any of them is in each of the words.
        pattern: what may stand between, and the value.
        fits: whether a value may be one.
        ends: what ends a value, if it is as long as texts are.
    """

    kind: str
    words: tuple[str, ...]
    stems: tuple[str, ...]
    pattern: re.Pattern[str]
    fits: Callable[[str], bool]
    ends: re.Pattern[str] | None = None

    def find(self, text: str, lower: str) -> Iterator[tuple[int, int]]:
        """Start and end of each value; `lower` is the text in lower case, place by place."""
        if not any(stem in lower for stem in self.stems):
            return
        run = None if self.ends is None else Run(text, self.ends, BEHIND + LONGEST)
        for word in self.words:
            places = _places(lower, word)
            value = partial(self._value, text, len(word), {})
            if run is None or len(places) == 1:
                yield from filter(None, map(value, places))
            elif places:
                most = partial(_most, run, len(word))
                yield from covered(places, value, most, steady=False, ahead=_BETWEEN + len(word))

    def _value(self, text: str, size: int, known: dict[str, bool], at: int) -> Span | None:
        match = self.pattern.match(text, at + size)
        if match is None or match.start("value") - at > BEHIND:
            return None
        value = match["value"]
        if (fits := known.get(value)) is None:
            fits = known[value] = self.fits(value)
        return match.span("value") if fits else None


def _places(text: str, word: str) -> list[int]:
    places, at = [], text.find(word)
    while at >= 0:
        places.append(at)
        at = text.find(word, at + 1)
    return places


def _most(run: Run, size: int, at: int) -> int:
    """Where the value of a word ends at the latest: with the run that the word is in, if it goes on far enough."""
    end = run.end(at)
    return end if end - at > _BETWEEN + size else at + BEHIND + LONGEST


def _random(value: str) -> bool:
    """Whether this may be a key: letters and digits, and as many different ones as chance makes."""
    if len({*value}) < 2**_BITS or next(islice(_TURN.finditer(value), _TURNS - 1, None), None) is None:
        return False  # fewer characters than that have fewer bits
    return _entropy(value) >= _BITS and not (_STANDS_FOR.search(value) or _VERSION.match(value))


def _random_and_no_id(value: str) -> bool:
    return not _UUID.match(value) and _random(value)


def _password(value: str) -> bool:
    """Whether this may be a password: not a word, a type, a path, a variable or what stands for one."""
    if not (_LETTER.search(value) and _NO_LETTER.search(value)):
        return False
    return not (_STANDS_FOR.search(value) or _VERSION.match(value) or _PATH.match(value))


def _entropy(value: str) -> float:
    """Shannon's, in bits a character."""
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in Counter(value).values())


URL: Final = "CONNECTION_STRING"
_USER, _SHARED = r"[^\s/@:?#\"'<>]{0,64}", r"[^\s/@\"'<>]"
_TOKENS = "token", "authorization", "bearer", "토큰"
_BETWEEN_TOKEN = re.compile(_IS + _TOKEN)
CONTEXTS: Final = (
    Context(
        "API_KEY",
        (
            "api_key", "api-key", "apikey", "api key", "access_key", "access-key", "accesskey", "accountkey",
            "secret_key", "secret-key", "secretkey", "secret_access_key", "private_key", "encryption_key",
            "signing_key",
            "auth_key", "app_key", "application_key", "master_key", "client_secret", "client-secret", "clientsecret",
            "secret", "heroku", "api 키", "api키", "인증키", "비밀키", "시크릿", "액세스 키", "서비스키",
        ),
        ("key", "secret", "heroku", "키", "시크릿"),
        _BETWEEN_TOKEN,
        _random,
        _NO_TOKEN,
    ),
    Context("ACCESS_TOKEN", _TOKENS, _TOKENS, _BETWEEN_TOKEN, _random_and_no_id, _NO_TOKEN),
    Context("BEARER_TOKEN", ("bearer ",), ("bearer ",), re.compile(_TOKEN), _random_and_no_id, _NO_TOKEN),
    Context(
        "PASSWORD",
        ("password", "passwd", "passphrase", "pwd", "비밀번호", "패스워드", "비번", "암호"),
        ("pass", "pwd", "비밀", "패스", "비번", "암호"),
        re.compile(_IS + _PASSWORD),
        _password,
        _NO_PASSWORD,
    ),
    # The password of a URL with a name and a host (RFC 3986's userinfo).
    Context(
        URL,
        ("://",),
        ("://",),
        re.compile(rf"{_USER}:(?P<value>{_SHARED}{{1,128}})(?=@[A-Za-z0-9\[])"),
        lambda value: not _STANDS_FOR.search(value),
    ),
)  # fmt: skip
_BEGUN = re.compile(rf"://{_USER}(?::{_SHARED}{{0,128}}@?)?")


def begun(text: str) -> int:
    """How many characters at the end of a text may belong to a URL whose password is not complete yet.

    It may be of any script, which no other secret is.
    """
    at = text.rfind("://")  # none goes on over another
    return len(text) - at if at >= 0 and _BEGUN.fullmatch(text, at) else 0
