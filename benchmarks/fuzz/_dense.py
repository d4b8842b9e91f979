"""Texts of one thing from end to end: what begins like a find everywhere, and tables and logs full of finds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

from ._texts import UNITS, Text

__all__ = ["dense"]

SIZE = 256 * 1024  # bytes: what is the same for any text is small beside it

# Beside the units of the fuzzed texts: whatever cost most when it was looked for (2026-12-01).
_HOSTILE = (
    *(
        "http://\u0130",
        "1.1.1.",
        "0-0-",
        "1/1/",
        "61 ",
        "&amp;](//",
        "](//",
        "a\u200b",
        "123-",
        "1234-",
        "1.2.3.4 ",
        "(0",
    ),
    *("12 12 12 ", "1234567 ", "010-1234-5678 ", "4111 1111 1111 1111 ", "a@a.aa ", "1:2:", "a:b::", "aa:bb:", "GB59 "),
    *(
        "iban gb59 ",
        "card 501",
        "call 5 ",
        "여권M1",
        "공일공일",
        "born 1/",
        "a at a dot ",
        "://a:b",
        '="//',
        "aba",
        "../",
    ),
    *("password=a1!b2?c3 ", "<script>", "{{", "`", "ﷺ", "İ", "sk-" + "a" * 30 + " ", "%61", "1gn0re "),
)


def dense() -> Iterator[Text]:
    """The same texts each time, with what they are of as their kind."""
    for unit in dict.fromkeys((*UNITS, *_HOSTILE)):
        yield Text(f"{unit[:20]!a} again and again", unit * (SIZE // len(unit.encode("utf-8", "surrogatepass"))))
    for name, line in _LINES.items():
        chance = random.Random(name)  # noqa: S311 - no secret
        lines: list[str] = []
        size = 0
        while size < SIZE:
            lines.append(line(chance.randrange))
            size += len(lines[-1].encode())
        yield Text(name, "".join(lines))


Draw = Callable[[int], int]


def _address(draw: Draw) -> str:
    return ".".join(str(draw(256)) for _ in range(4))


# What people paste: all of it is data, and nothing of it is made to be slow.
_LINES: dict[str, Callable[[Draw], str]] = {
    "numbers, comma": lambda draw: ",".join(str(draw(10 ** (1 + draw(9)))) for _ in range(8)) + "\n",
    "numbers, space": lambda draw: " ".join(str(draw(10_000)) for _ in range(8)) + "\n",
    "fractions": lambda draw: " ".join(f"{draw(100_000) / 100:.2f}" for _ in range(8)) + "\n",
    "log of addresses": lambda draw: (
        f"{_address(draw)} - - [01/Dec/2026:06:{draw(60):02}:{draw(60):02} +0000] "
        f'"GET /a/{draw(999)}" 200 {draw(99999)}\n'
    ),
    "JSON of dates": lambda draw: (
        json.dumps(
            {"id": draw(10**6), "at": f"20{draw(30):02}-{1 + draw(12):02}-{1 + draw(28):02}T{draw(24):02}:00:00Z"}
        )
        + "\n"
    ),
    "phones": lambda draw: f"김,010-{draw(10_000):04}-{draw(10_000):04},02-{200 + draw(700)}-{draw(10_000):04}\n",
    "sixteen digits": lambda draw: f"4{draw(1000):03} {draw(10_000):04} {draw(10_000):04} {draw(10_000):04}\n",
    "resident numbers": lambda draw: (
        f"{50 + draw(49)}{1 + draw(12):02}{1 + draw(28):02}-{1 + draw(4)}{draw(10**6):06}\n"
    ),
    "e-mail addresses": lambda draw: f"user{draw(10**5)}@example{draw(1000)}.com;",
    "UUIDs": lambda draw: (
        f"{draw(2**32):08x}-{draw(2**16):04x}-4{draw(2**12):03x}-a{draw(2**12):03x}-{draw(2**48):012x}\n"
    ),
    "hardware addresses": lambda draw: ":".join(f"{draw(256):02x}" for _ in range(6)) + "\n",
    "links": lambda draw: f"- [page {draw(100)}](https://host{draw(100)}.example.com/page/{draw(10**5)})\n",
    "HTML": lambda draw: f'<li class="item-{draw(9)}"><a href="/p/{draw(1000)}">n &amp; {draw(100)}</a></li>\n',
}
