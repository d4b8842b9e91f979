"""What such code looks like: each sign by words without which it is not there, and a pattern for the lower-case text.

Letters are those of ASCII, so that a Korean particle may follow. A pattern looks at no more than REACH characters, SHORT
of them unless it begins with "<". None is followed by what may be anything, so that a text costs the same whatever it
holds. A pattern begins with a character, and what stands before that comes second: so it is looked for at a fifth of the
cost. Where many words may follow, their first letters are asked for before them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import Final, NamedTuple

__all__ = ["KINDS", "REACH", "SHORT", "Kind", "rare_in"]

REACH: Final = 720
SHORT: Final = 200


_RARE: Final = "<>=%&;|$`{}#\\/:()+*\t\n\"'"  # signs of prose last


class _Sign(NamedTuple):
    pattern: re.Pattern[str]
    characters: frozenset[str]  # one of these is there, or the pattern is not; none, if it needs none of them
    words: tuple[tuple[str, ...], ...]  # and one of each group
    is_one: Callable[[re.Match[str]], bool] | None
    find: Callable[[str], Iterator[tuple[int, int]]] | None = None  # in place of the pattern at every start


class Kind(NamedTuple):
    """One kind of code, and the signs of it."""

    name: str
    signs: tuple[_Sign, ...]

    def find(self, low: str, rare: frozenset[str]) -> Iterator[tuple[int, int]]:
        """(start, end) of each in a lower-case text that has these rare characters; they may overlap."""
        for sign in self.signs:
            if sign.characters and sign.characters.isdisjoint(rare):
                continue
            if not all(any(word in low for word in group) for group in sign.words):
                continue
            if sign.find is not None:
                yield from sign.find(low)
            else:
                match = sign.pattern.search(low)
                while match is not None:
                    if sign.is_one is None or sign.is_one(match):
                        yield match.span()
                    match = sign.pattern.search(low, match.start() + 1)


def rare_in(low: str) -> frozenset[str]:
    """Which of the characters that signs need are in this text."""
    return frozenset([one for one in _RARE if one in low])


def _sign(
    pattern: str,
    *words: str,
    beside: tuple[str, ...] = (),
    is_one: Callable[[re.Match[str]], bool] | None = None,
    find: Callable[[str], Iterator[tuple[int, int]]] | None = None,
) -> _Sign:
    groups = (words, beside) if beside else (words,)
    rare = [[next((one for one in word if one in _RARE), "") for word in group] for group in groups]
    characters = next((frozenset(group) for group in rare if all(group)), frozenset[str]())
    return _Sign(re.compile(pattern, re.ASCII), characters, groups, is_one, find)


def _is_script(match: re.Match[str]) -> bool:
    """Whether an attribute that hides characters comes to a script; one that hides none has a sign of its own."""
    written = match[1]
    if not any(one in written for one in "&\t\n"):
        return False
    head = written[: max(0, written.rfind("&", 0, _HEAD))]  # no entity goes on behind the next
    begins = _plain(head)
    if begins and not any(one.startswith(begins[: len(one)]) for one in _SCRIPTS):
        return False
    return _plain(written).startswith(_SCRIPTS)


_HEAD: Final = 48
_SCRIPTS: Final = ("javascript:", "vbscript:", "data:text/html")


def _plain(written: str) -> str:
    return re.sub(r"[\x00-\x20]", "", unescape(written))


_ATTRIBUTE: Final = r"(?:href|src|action|formaction|data|poster|background|xlink:href)\s{0,4}=\s{0,4}[\"']?"

_XSS: Final = Kind(
    "XSS",
    (
        _sign(r"</?script(?![\w\-])[^<>]{0,300}>?", "<script", "</script"),
        _sign(
            r"<(?:iframe|object|embed|applet|frame|base|portal)(?![\w\-])[^<>]{0,300}?(?:src|data|href|code|classid)\s{0,4}=[^<>]{0,200}>?",
            "<",
            beside=("=",),
        ),
        _sign(
            r"<[a-z][a-z0-9:\-]{0,30}[\s/\"'][^<]{0,300}?(?<=[\s/\"'])on[a-z]{3,24}\s{0,8}=(?!\s{0,8}\{)[^<>]{0,200}>?",
            "<",
            beside=("=",),
        ),
        _sign(r"<meta(?=\s)[^<>]{0,200}http-equiv\s{0,4}=\s{0,4}[\"']?refresh[^<>]{0,200}>?", "http-equiv"),
        _sign(r"<[a-z][^<>]{0,200}(?<=[\s/\"'])srcdoc\s{0,4}=", "srcdoc"),
        _sign(
            r"(?:j(?<!\wj)avascript|v(?<!\wv)bscript):\s{0,4}(?:[a-z_$][\w.$]{0,40}\s{0,4}[(=`\[]|//|%[0-9a-f]{2}|\(|\[)",
            "script:",
        ),
        _sign(
            _ATTRIBUTE + r"(?=[\x00-\x20]*(?:[jvd]|&(?:#|[a-z0-9]{1,31};)))([^\"'<>]{1,120})",
            "&",
            "\t",
            "\n",
            beside=("=",),
            is_one=_is_script,
        ),
        _sign(r"(?:\]\(|" + _ATTRIBUTE + r")\s{0,4}(?:javascript|vbscript):", "script:"),
        _sign(r"data(?<!\w....):text/html[;,]", "data:text/html"),
        _sign(r"style\s{0,4}=\s{0,4}[\"'][^\"'<>]{0,100}(?:expression\(|behavior:|-moz-binding)", "style"),
        _sign(r"(?:%3c|\\x3c|\\u003c)/?(?:script|iframe)(?![\w\-])", "%3c", "\\x3c", "\\u003c"),
    ),
)

_SPACE: Final = r"(?:\s|/\*[^*]{0,20}\*/|\+|%20)"

_OR: Final = r"['\"]\s{0,4}\)?\s{0,4}(?:or|and|\|\||&&)(?:\s|\+|/\*\*/){0,4}(?:not\s)?"
_EQUALS: Final = r"(?:=|like|<=>)"

_STACKED: Final = (
    r"[ \t]{0,4};[ \t]{0,4}(?:(?:drop|alter|create|truncate)\s{1,4}(?:table|database|user|login|schema|role)|"
    r"delete\s{1,4}from|insert\s{1,4}into|update\s{1,4}\w{1,30}\s{1,4}set|exec(?:ute)?\s{1,4}\w|"
    r"shutdown(?!\w)|declare\s{1,4}@|select\s)"
)

_SQL: Final = Kind(
    "SQL_INJECTION",
    (
        _sign(
            _OR + r"['\"(]{1,3}(\w{0,16})['\"]\s{0,4}" + _EQUALS + r"\s{0,4}['\"(]{1,2}\1(?!\w)",
            "=",
            "like",
            beside=("'", '"'),
        ),
        _sign(_OR + r"\(?(\w{1,16})\s{0,4}" + _EQUALS + r"\s{0,4}\(?\1(?!\w)", "=", "like", beside=("'", '"')),
        _sign(
            r"(?:or(?<!\wor)|and(?<!\wand))" + _SPACE + r"{1,4}(\d{1,8})\s{0,4}=\s{0,4}\1\s{0,4}(?:--|#|/\*|;|['\")])",
            "=",
        ),
        _sign(r"['\"]\s{0,4}or\s{1,4}(?:true|not\s{1,2}false)\s{0,4}(?:--|#|/\*|;)", "true", "false"),
        _sign(r"'(?<=\w')\)?(?:--(?![\w>\-])|/\*|;--|;%00)", "'--", "'/*", "';", "')"),
        _sign(r"['\"]\)?" + _STACKED, ";"),
        _sign(r"\d" + _STACKED, ";"),
        _sign(
            r"['\"]\)?" + _SPACE + r"{0,8}union" + _SPACE + r"{1,8}(?:all|distinct)?" + _SPACE + r"{0,8}select", "union"
        ),
        _sign(
            r"union" + _SPACE + r"{1,8}(?:all|distinct)?" + _SPACE + r"{0,8}select" + _SPACE + r"{1,8}"
            r"(?:null\s{0,2},|\d{1,4}\s{0,2},\s{0,2}\d|@@|char\(|concat\(|group_concat\(|load_file\(|version\(|database\(|"
            r"0x[0-9a-f]{2}|[\w,\s]{0,60}?(?:passw|information_schema))",
            "union",
        ),
        _sign(r"(?:and|or|select|if)\W{1,8}sleep\s{0,2}\(\s{0,2}\d", "sleep", beside=("(",)),
        _sign(
            r"waitfor\s{1,4}delay\s{0,4}['\"(@]|pg_sleep\s{0,2}\(|benchmark\s{0,2}\(\s{0,2}\d{4}|"
            r"select\s{1,4}load_file\s{0,2}\(|"
            r"into\s{1,4}(?:outfile|dumpfile)\s{0,4}['\"]|(?<!\w)xp_cmdshell|extractvalue\s{0,2}\(\s{0,2}\d|"
            r"updatexml\s{0,2}\(\s{0,2}\d|utl_http\.request|dbms_pipe\.receive",
            "waitfor",
            "pg_sleep",
            "benchmark",
            "load_file",
            "outfile",
            "dumpfile",
            "xp_cmdshell",
            "extractvalue",
            "updatexml",
            "utl_http",
            "dbms_pipe",
        ),
    ),
)

_FETCH: Final = r"(?:curl|wget)\s[^\n|;<>`]{1,120}"
_TELLING: Final = (
    r"(?=[wipechtlrnbzdsu])(?:whoami|id|printenv|env|(?:cat|head|tail|less)\s{1,4}(?!/dev/null)[/~.][\w/.\-]{1,60}|(?:curl|wget)\s[^\n)`]{0,40}|"
    r"rm\s{1,4}-\w{0,8}|nc(?:at)?\s{1,4}-?\w|(?:ba|z|da)?sh\s{1,4}-[ic]|ping\s{1,4}-[cn]|nslookup\s|ifconfig|"
    r"uname\s{1,4}-a|sleep\s{1,4}\d|powershell|netstat|(?:python[23]?|perl|php|ruby)\s{1,4}-[cer])(?![\w\-])"
)

_SHELL: Final = Kind(
    "SHELL_INJECTION",
    (
        _sign(r"\$\(\s{0,4}" + _TELLING, "$("),
        _sign(r"`(?<=[\w=;|&/\"']`)\s{0,4}" + _TELLING + r"[^`\n]{0,60}`", "`"),
        _sign(
            r"(?:;|\||&&|&(?<![&\w]&)|%0a|%3b|%7c)\s{0,4}(?=[rcwnbzspi])(?:sudo\s{1,4})?(?:rm\s{1,4}-\w{0,6}[rf]\w{0,6}\s{1,4}[/~*.$]|"
            r"cat\s{1,4}/etc/|whoami(?![\w\-])|nc(?:at)?\s{1,4}-\w{0,4}e|(?:ba|z)?sh\s{1,4}-i|ping\s{1,4}-[cn]\s{1,4}\d|"
            r"(?:curl|wget)\s{1,4}(?:-\w{1,10}\s{1,4}){0,4}[\"']?(?:https?:)?//|id\s{0,2}(?=[;&])|(?<=\s)id(?=['\"]))",
            ";",
            "&",
            "|",
            "%0a",
            "%3b",
            "%7c",
        ),
        _sign(_FETCH + r"\|\s{0,4}(?:sudo\s{1,4}(?:-\w{1,3}\s{1,4})?)?(?:ba|z|da|k)?sh(?![\w.])", "curl", "wget"),
        _sign(
            r"rm(?<![\w\-]rm)\s{1,4}-(?:rf|fr|r\s{1,2}-f)\s{1,4}(?:--no-preserve-root\s{1,4})?[/~](?:\*|(?![\w/.\-]))",
            "rm -",
        ),
        _sign(r"/dev/(?:tcp|udp)/[\w.\-]{1,60}/\d", "/dev/tcp", "/dev/udp"),
        _sign(r"nc(?<!\w..)(?:at)?\s{1,4}(?:[\w.\-]{1,40}\s{1,4}){0,4}-\w{0,3}e\s{1,4}\S", "nc", beside=("-",)),
        _sign(r":\(\)\s{0,2}\{\s{0,2}:\s{0,2}\|\s{0,2}:", ":()"),
        _sign(
            r"powershell(?:\.exe)?\s{1,4}(?:-\w{1,16}\s{1,4}(?:\w{1,10}\s{1,4})?){0,4}-e(?:nc|ncodedcommand)?\s{1,4}[a-z0-9+/=]{16}",
            "powershell",
        ),
        _sign(r"base64\s{1,4}(?:-d|--decode)\s{0,4}\|\s{0,4}(?:ba|z)?sh(?!\w)", "base64"),
        _sign(r"__import__\s{0,2}\(\s{0,2}['\"](?:os|subprocess|builtins|sys)['\"]\s{0,2}\)\s{0,2}\.", "__import__"),
        _sign(
            r"e(?:val|xec)(?<!\w....)\s{0,2}\(\s{0,2}(?:base64|atob|compile|__import__|bytes\.fromhex|gzinflate|str_rot13)",
            "eval",
            "exec",
            beside=("base64", "atob", "compile", "__import__", "fromhex", "gzinflate", "rot13"),
        ),
        _sign(r"getruntime\(\)\s{0,2}\.\s{0,2}exec\s{0,2}\(", "getruntime"),
        _sign(r"require\(['\"](?:node:)?child_process['\"]\)\s{0,2}\.\s{0,2}(?:exec|spawn)", "child_process"),
        _sign(
            r"(?:system|passthru|shell_exec|eval|assert|exec|popen)\s{0,2}\(\s{0,2}\$_(?:get|post|request|cookie)", "$_"
        ),
    ),
)

_INSIDE: Final = (
    r"(?=[_.crljsgptnf])(?:__class__|__mro__|__base__|__subclasses__|__globals__|__builtins__|__init__|__import__|__getattribute__|"
    r"\.constructor|constructor\.|config\.items|config\[|request\.application|request\[|lipsum|cycler|joiner|"
    r"self\._|getruntime|popen\(|t\(java\.|processbuilder|classloader|\.getclass|new java|system\(|\.env\(\)|"
    r"file_get_contents|readfile\(|constructor\()"
)

_TEMPLATE: Final = Kind(
    "TEMPLATE_INJECTION",
    (
        _sign(r"\{\{\s{0,4}['\"]?\d{1,8}['\"]?\s{0,4}[*+\-/]\s{0,4}['\"]?\d{1,8}['\"]?\s{0,4}\}\}", "{{"),
        _sign(r"[$#@*~]\{\{?\s{0,4}\d{1,8}\s{0,4}[*+]\s{0,4}\d{1,8}\s{0,4}\}", "{"),
        _sign(r"<%=?\s{0,4}\d{1,8}\s{0,4}\*\s{0,4}\d{1,8}\s{0,4}%>", "<%"),
        _sign(r"\{[{%][^{}\n]{0,120}?" + _INSIDE, "{{", "{%"),
        _sign(r"[$#*]\{[^{}\n]{0,120}?" + _INSIDE, "${", "#{", "*{"),
        _sign(r"<%[^%\n]{0,100}?(?:" + _INSIDE + r"|`|file\.open|dir\.entries|io\.popen)", "<%"),
        _sign(r"\$\{\s{0,4}(?:jndi:|\$\{(?:lower|upper|::-|env:)[^{}]{0,40}\}\w{0,4})", "${"),
        _sign(
            r"\{%\s{0,4}import\s{1,4}os|\{php\}|freemarker\.template\.utility\.execute|#set\s{0,2}\(\s{0,2}\$\w{1,20}\s{0,2}=\s{0,2}(?:\$class|7\*7)",
            "{%",
            "{php}",
            "freemarker",
            "#set",
        ),
    ),
)

_STEP: Final = r"\.\.[/\\]{1,2}"
_STEPS: Final = ("../", "..\\")
_MOST_STEPS, _MANY_STEPS = 24, 6  # that are looked at, and that say enough alone
_RUN: Final = re.compile(rf"(?:{_STEP}){{2,}}")
_ONE_STEP: Final = re.compile(_STEP)
_GOAL: Final = re.compile(
    r"(?:etc|proc|windows|winnt|root|home|boot\.ini|web-inf|var[/\\](?:log|www|run)|"
    r"\.(?:ssh|env|git|aws|htpasswd|bash_history))(?![\w\-])",
    re.ASCII,
)


def _climbs(low: str) -> Iterator[tuple[int, int]]:
    """Steps up that lead somewhere, or are many.

    A run of steps is looked at once: whatever begins at one of its steps ends where the run does.
    """
    for run in _RUN.finditer(low):
        steps = [step.start() for step in _ONE_STEP.finditer(low, *run.span())]
        if goal := _GOAL.match(low, run.end()):
            yield steps[max(0, len(steps) - _MOST_STEPS)], goal.end()
        if len(steps) >= _MANY_STEPS:
            yield run.span()


_PATH: Final = Kind(
    "PATH_TRAVERSAL",
    (
        _sign(_STEP, *_STEPS, find=_climbs),
        _sign(rf"[?&=]\s{{0,2}}[\"']?(?:{_STEP}){{3,24}}", *_STEPS),
        _sign(
            r"(?:(?:%2e|%252e|%c0%ae){2}(?:[/\\]|%2f|%5c|%252f|%255c|%c0%af)|\.\.(?:%2f|%5c|%252f|%255c|%c0%af|%c1%9c))",
            "%2",
            "%5c",
            "%c",
        ),
        _sign(r"\.\.\.\.?[/\\]{1,2}(?:\.{3,4}[/\\]{1,2}){1,23}", ".../", "...\\"),
        _sign(r"file:/{1,3}(?:localhost)?/?(?:etc|proc|root|windows|c:/windows)[/\\]", "file:"),
        _sign(r"[/\\=][\w.\-/\\]{1,60}\.\w{1,5}%00", "%00"),
        _sign(
            r"/proc/self/(?:environ|fd|maps|cmdline)|/etc/shadow(?!\w)|system32[/\\]{1,2}config[/\\]{1,2}sam(?!\w)",
            "/proc/",
            "/etc/",
            "system32",
        ),
    ),
)

_SSRF: Final = Kind(
    "SSRF",
    (
        _sign(
            r"(?:(?:https?|ftp|gopher):)?[/\\]{2}(?:[\w.\-]{0,40}@)?(?:169\.254\.169\.254|169\.254\.170\.2|metadata\.google\.internal|"
            r"metadata\.goog|100\.100\.100\.200|192\.0\.0\.192|2852039166|0xa9fea9fe|0xa9\.0x?fe|0251\.0376|0+251\.0+376|"
            r"\[::ffff:(?:a9fe:a9fe|169\.254)|\[fd00:ec2::254\]|169\.254\.169\.254\.(?:nip|xip|sslip)\.io|instance-data|"
            r"kubernetes\.default(?:\.svc)?)(?![\w\-])",
            "169.254",
            "metadata.goog",
            "100.100.100.200",
            "192.0.0.192",
            "2852039166",
            "0xa9",
            "251.0",
            "a9fe:a9fe",
            "fd00:ec2",
            "instance-data",
            "kubernetes.default",
        ),
        _sign(
            r"/latest/(?:meta-data|user-data|dynamic/instance-identity|api/token)|/computemetadata/v1|/metadata/instance\?api-version|/opc/v[12]/instance",
            "/latest/",
            "/computemetadata",
            "/metadata/instance",
            "/opc/v",
        ),
        _sign(
            r"(?=[gdljtn])(?<!\w)(?:gopher|dict|ldaps?|jar|tftp|netdoc)://[\w.\-\[\]]{1,60}[:/]",
            "gopher://",
            "dict://",
            "ldap://",
            "ldaps://",
            "jar://",
            "tftp://",
            "netdoc://",
        ),
    ),
)

KINDS: Final = (_XSS, _SQL, _SHELL, _TEMPLATE, _PATH, _SSRF)
