"""Personal data as people write them, what only looks like them, and sentences to put both in."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = [
    "CALLING",
    "DECOYS",
    "SENTENCES",
    "card",
    "decoy",
    "email",
    "iban",
    "korean_phone",
    "other_phone",
    "resident",
]

Draw = random.Random

SENTENCES = (
    *("제 것은 {}입니다.", "{}로 확인해 주세요", "입력값: {}", "값={};", "고객님의 정보는 '{}'이며"),
    *("Mine is {}.", "Please check {}, thanks", "({})", "{}", "I sent {} yesterday."),
)
# Told by their words: most countries' numbers have no form of their own.
CALLING = (
    *(
        "Call me at {} after five.",
        "Phone: {}",
        "My mobile is {}.",
        "You can reach me on {}.",
        "Tel. {}",
        "Text me: {}",
    ),
    *("They are not answering at {}", "전화 {}로 주세요", "연락처: {}", "제 휴대폰은 {}입니다"),
)


def digits(draw: Draw, count: int) -> str:
    """So many."""
    return "".join(draw.choice("0123456789") for _ in range(count))


def grouped(text: str, sizes: tuple[int, ...], sep: str) -> str:
    """A text in groups of these sizes, the rest in the last."""
    groups, at = [], 0
    for size in sizes:
        groups.append(text[at : at + size])
        at += size
    return sep.join([*groups, text[at:]] if text[at:] else groups)


def resident(draw: Draw, sexes: str = "1234") -> str:
    """A Korean resident number with its check digit."""
    told = f"{draw.randint(0, 99):02}{draw.randint(1, 12):02}{draw.randint(1, 28):02}{draw.choice(sexes)}"
    told += digits(draw, 5)
    total = sum(w * int(d) for w, d in zip((2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5), told, strict=True))
    told += str((11 - total % 11 + (2 if sexes == "5678" else 0)) % 10)
    return told[:6] + draw.choice(("-", "", " ", " - ", "\u2013")) + told[6:]


def iban(draw: Draw) -> str:
    """An IBAN with its check digits, in groups or not."""
    country, length = draw.choice((("GB", 22), ("DE", 22), ("FR", 27), ("NL", 18), ("NO", 15), ("MT", 31), ("CH", 21)))
    body = "".join(draw.choice("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(length - 4))
    number = int("".join(str(int(c, 36)) for c in body + country) + "00")
    whole = f"{country}{98 - number % 97:02}{body}"
    return draw.choice((whole, grouped(whole, (4,) * (length // 4), " ")))


def korean_phone(draw: Draw) -> str:
    """A mobile number, a landline or a mobile number as from abroad."""
    sep = draw.choice(("-", "", ".", " "))
    mobile = f"010{sep}{draw.randint(2000, 9999)}{sep}{digits(draw, 4)}"
    sep = draw.choice(("-", ".", " "))
    area = draw.choice(("02", "031", "032", "051", "053", "062", "064", "070"))
    landline = f"{area}{sep}{draw.randint(200, 9999)}{sep}{digits(draw, 4)}"
    abroad = f"+82 10{sep}{draw.randint(2000, 9999)}{sep}{digits(draw, 4)}"
    return draw.choice((mobile, mobile, landline, abroad))


# As printed by their countries: of Brazil, Denmark, France, Germany, India, Italy, Japan, Poland, Russia, Spain, ...
_PHONES = (
    *(
        "(##) 9####-####",
        "## ## ## ##",
        "0# ## ## ## ##",
        "(0####) ######",
        "0#### ######",
        "+91-9#########",
        "0## #######",
    ),
    *(
        "0##-####-####",
        "6## ### ###",
        "8 (9##) ###-##-##",
        "+7 (9##) ###-##-##",
        "9## ### ###",
        "020 7### ####",
        "###-####",
    ),
    *(
        "07### ######",
        "+44 7### ######",
        "+1-2##-555-0###",
        "(4##) 555-####x###",
        "+33 6 ## ## ## ##",
        "+49 30 #######",
    ),
    *("04## ### ###", "0## ### ## ##", "2##.555.####", "1-8##-555-####", "+61 4## ### ###", "00420 7## ### ###"),
)


def other_phone(draw: Draw) -> str:
    """A number of another country than Korea."""
    return "".join(draw.choice("23456789") if one == "#" else one for one in draw.choice(_PHONES))


_CARDS = (("4", 16), ("51", 16), ("2221", 16), ("37", 15), ("36", 14), ("3528", 16), ("6011", 16), ("622126", 19))


def card(draw: Draw) -> str:
    """A card number with its check digit, as it is printed or typed."""
    prefix, length = draw.choice(_CARDS)
    body = prefix + digits(draw, length - len(prefix) - 1)
    total = sum(sum(divmod(2 * int(one), 10)) if at % 2 == 0 else int(one) for at, one in enumerate(reversed(body)))
    whole = body + str(-total % 10)
    sizes = {15: (4, 6, 5), 14: (4, 6, 4)}.get(length, (4, 4, 4, 4))
    return grouped(whole, sizes, draw.choice(("", "-", " ")))


def email(draw: Draw) -> str:
    """An address."""
    name = draw.choice(("hong", "kim.minsu", "o'neil", "a_b", "x+tag", "j-p.sartre", "user99"))
    host = draw.choice(("example.com", "mail.example.co.kr", "teleworm.us", "xn--bcher-kva.example", "a1.io"))
    return draw.choice(
        (f"{name}@{host}", f"{name.upper()}@{host.title()}", f"{name} (at) {host.replace('.', ' dot ')}")
    )


def _isbn(draw: Draw) -> str:
    told = "978" + draw.choice(("89", "11", "0")) + digits(draw, 9)
    told = told[:12]
    told += str(-sum(int(one) * (3 if at % 2 else 1) for at, one in enumerate(told)) % 10)
    return draw.choice((told, grouped(told, (3, 2, 4, 3, 1), "-")))


def _barcode(draw: Draw) -> str:
    told = "880" + digits(draw, 9)
    return told + str(-sum(int(one) * (3 if at % 2 else 1) for at, one in enumerate(told)) % 10)


def _stamp(draw: Draw) -> str:
    date = f"20{draw.randint(10, 29)}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}"
    return f"{date}T{draw.randint(0, 23):02}:{draw.randint(0, 59):02}:{draw.randint(0, 59):02}.{digits(draw, 6)}Z"


def _date(draw: Draw) -> str:
    year, month, day = draw.randint(2010, 2029), draw.randint(1, 12), draw.randint(1, 28)
    return draw.choice((f"{year}.{month:02}.{day:02}", f"{month}/{day}/{year}", f"{year}{month:02}{day:02}"))


DECOYS: dict[str, tuple[Callable[[Draw], str], tuple[str, ...]]] = {
    "order": (
        lambda draw: draw.choice(
            (grouped(digits(draw, 12), (4, 4, 4), "-"), digits(draw, 10), f"ORD-{digits(draw, 8)}")
        ),
        ("Order {} has shipped.", "주문번호 {}의 배송입니다."),
    ),
    "tracking": (
        lambda draw: draw.choice(
            (digits(draw, 12), f"RR{digits(draw, 9)}KR", grouped(digits(draw, 12), (4, 4, 4), " "))
        ),
        ("The tracking number is {}.", "송장번호 {}입니다."),
    ),
    "ISBN": (_isbn, ("ISBN {} is out of print.", "도서 ISBN {}입니다.")),
    "barcode": (_barcode, ("It has the barcode {}.", "바코드 {}입니다.")),
    "timestamp": (_stamp, ("{} INFO it started.", "로그 {}에 기록되었습니다.")),
    "milliseconds": (lambda draw: str(draw.randint(15 * 10**11, 18 * 10**11)), ("ts={} is late.", "시각은 {}입니다.")),
    "date": (_date, ("We are done by {}.", "기간은 {}까지입니다.")),
    "version": (
        lambda draw: f"{draw.randint(1, 9)}.{draw.randint(0, 30)}.{digits(draw, 2)}",
        ("Version {}.", "{} 버전."),
    ),
    "price": (
        lambda draw: f"{draw.randint(1, 999)},{digits(draw, 3)},{digits(draw, 3)}",
        ("It costs ${}.", "총 {}원입니다."),
    ),
    "coordinates": (
        lambda draw: f"{draw.uniform(-90, 90):.6f}, {draw.uniform(-180, 180):.6f}",
        ("It is at {}.", "위치는 {}입니다."),
    ),
    "digest": (lambda draw: f"{draw.getrandbits(160):040x}", ("Commit {} broke it.", "커밋 {}입니다.")),
    "UUID": (
        lambda draw: grouped(f"{draw.getrandbits(128):032x}", (8, 4, 4, 4, 12), "-"),
        ("Request {} failed.", "요청 {} 실패."),
    ),
    "part": (lambda draw: f"P/N {digits(draw, 6)}-{digits(draw, 3)}", ("Use {} instead.", "{} 부품을 쓰세요.")),
    "scores": (lambda draw: " ".join(str(draw.randint(1, 45)) for _ in range(7)), ("Numbers: {}.", "로또 번호 {}.")),
    "DOI": (
        lambda draw: f"10.{digits(draw, 4)}/s{digits(draw, 5)}-{digits(draw, 3)}-{digits(draw, 5)}-1",
        ("doi:{}",) * 2,
    ),
}


def decoy(draw: Draw, language: int) -> str:
    """A sentence, English (0) or Korean (1), with something that is no personal data."""
    made, sentences = draw.choice([*DECOYS.values()])
    return sentences[language].format(made(draw))
