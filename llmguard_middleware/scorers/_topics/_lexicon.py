"""Topics by their words. One that says it all stands in `told`; of those that hint at it, it takes two."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

__all__ = ["TOPICS", "WITHIN", "Lexicon", "words_of"]

WITHIN: Final = 2000  # characters in which words count together
_HINT: Final = 0.5


class _Words(NamedTuple):
    told: str
    hints: str


_TOPICS: Final[dict[str, _Words]] = {
    "politics": _Words(
        "presidential election, general election, prime minister, political party, parliament, congressman, senator, "
        "republicans, democrats, impeachment, geopolitics, 대통령 선거, 국회의원, 총선, 대선 후보, 여당, 야당, 탄핵, "
        "더불어민주당, 국민의힘, 정치인, 정치권, 지지율",
        "president, government, election, vote, voters, ballot, politician, political, policy, congress, senate, left-wing, "
        "right-wing, liberal, conservative, protest, sanctions, 대통령, 정부, 선거, 투표, 정치, 정권, 좌파, 우파, 진보, 보수, 국회, 시위, 공약",
    ),
    "religion": _Words(
        "bible, quran, koran, torah, jesus christ, prophet muhammad, evangelical, catholicism, buddhism, hinduism, islam, "
        "christianity, judaism, theology, 성경, 예수님, 하나님, 천주교, 기독교, 이슬람교, 불교, 힌두교, 전도사, 신천지, 교리",
        "church, mosque, temple, synagogue, prayer, pray, worship, pastor, priest, imam, monk, gospel, salvation, sermon, "
        "교회, 성당, 사찰, 기도, 예배, 목사, 신부님, 스님, 설교, 신앙, 종교, 구원",
    ),
    "violence": _Words(
        "how to kill, murder someone, beat him up, beat her up, torture, massacre, behead, mass shooting, stab someone, "
        "살인 방법, 죽이는 방법, 살해, 학살, 고문하, 참수, 총기 난사, 칼부림, 때려죽",
        "kill, killing, murder, stab, strangle, assault, bloody, violent, violence, corpse, 죽여, 살인, 폭행, 구타, 목을 조르, 시체, 폭력, 찌르",
    ),
    "weapons": _Words(
        "pipe bomb, ied, molotov cocktail, explosive device, nerve agent, ghost gun, silencer, nuclear weapon, bioweapon, "
        "chemical weapon, detonator, ammonium nitrate, gunpowder, 사제 폭탄, 사제폭탄, 폭발물, 화염병, 신경가스, 생화학 무기, 핵무기, "
        "기폭장치, 소음기, 화약 제조",
        "bomb, explosive, explosives, grenade, rifle, pistol, handgun, firearm, firearms, ammunition, bullet, bullets, "
        "shotgun, sniper, 폭탄, 수류탄, 소총, 권총, 총기, 탄약, 총알, 저격",
    ),
    "drugs": _Words(
        "methamphetamine, cocaine, heroin, fentanyl, lsd, mdma, crystal meth, drug dealer, psilocybin, ketamine, opium, "
        "필로폰, 코카인, 헤로인, 펜타닐, 엑스터시, 대마초, 케타민, 마약, 히로뽕, 환각제",
        "weed, marijuana, cannabis, meth, narcotics, overdose, stoned, opioid, opioids, ecstasy, 대마, 환각, 투약, 중독자",
    ),
    "adult": _Words(
        "porn, pornography, pornhub, blowjob, hentai, erotica, sex toy, nude photos, nudes, escort service, orgasm, "
        "masturbation, 포르노, 야동, 성인물, 자위, 섹스, 오르가즘, 누드 사진, 성매매, 조건만남, 음란물",
        "sex, sexual, sexy, nude, naked, erotic, fetish, horny, strip club, 야한, 누드, 알몸, 성관계, 음란, 페티시, 19금",
    ),
    "self_harm": _Words(
        "kill myself, suicide, suicidal, end my life, cut myself, self-harm, self harm, want to die, hang myself, "
        "자살, 자해, 죽고 싶, 죽고싶, 목숨을 끊, 극단적 선택, 손목을 긋",
        "hopeless, worthless, overdose, better off dead, no reason to live, 살기 싫, 살기싫, 사라지고 싶, 유서, 번개탄",
    ),
    "gambling": _Words(
        "online casino, sports betting, slot machine, slot machines, baccarat, blackjack, roulette, bookmaker, poker room, "
        "온라인 카지노, 카지노, 바카라, 슬롯머신, 스포츠토토, 토토사이트, 불법도박, 도박, 룰렛, 경마 베팅",
        "casino, gambling, gamble, betting, bet, odds, jackpot, poker, lottery, wager, 베팅, 배팅, 잭팟, 복권, 로또, 배당률, 판돈",
    ),
    "medical": _Words(
        "diagnose, dosage, prescription drug, side effects of, symptoms of, chemotherapy, antibiotics, antidepressant, "
        "insulin, blood pressure medication, 처방전, 복용량, 부작용, 항생제, 항암제, 항우울제, 인슐린, 진단해, 혈압약, 증상이",
        "doctor, symptom, symptoms, disease, medicine, medication, pill, pills, treatment, therapy, fever, headache, pain, "
        "cancer, diabetes, vaccine, 의사, 증상, 질병, 치료, 두통, 복통, 발열, 당뇨, 백신, 수술, 약을, 진통제, 병원",
    ),
    "legal": _Words(
        "lawsuit, sue my, legal advice, plaintiff, defendant, custody battle, attorney, power of attorney, statute of limitations, "
        "소송, 고소장, 법률 상담, 변호사, 손해배상, 양육권, 공소시효, 형사고소, 내용증명",
        "lawyer, court, judge, illegal, legal, contract, liability, divorce, arrest, crime, law, 판사, 법원, 재판, 불법, 계약, 이혼, 고소, 위자료, 법적, 합의금",
    ),
    "investment": _Words(
        "stock tips, buy stocks, which stocks, which stock, day trading, invest in, portfolio allocation, cryptocurrency, bitcoin, ethereum, "
        "hedge fund, short selling, 주식 추천, 종목 추천, 비트코인, 이더리움, 가상화폐, 암호화폐, 공매도, 코인 투자, 주식 투자, 투자 종목, 수익률 보장",
        "stock, stocks, shares, investing, investment, invest, portfolio, dividend, etf, crypto, bond, bonds, trading, "
        "주식, 투자, 종목, 코인, 배당, 펀드, 채권, 매수, 매도, 상장, 수익률",
    ),
}

TOPICS: Final = tuple(_TOPICS)


def words_of(topic: str) -> Mapping[str, float]:
    """The words of a built-in topic, and how much each says."""
    words = _TOPICS[topic]
    hints = {word.strip(): _HINT for word in words.hints.split(",")}
    return {**hints, **{word.strip(): 1.0 for word in words.told.split(",")}}


class Lexicon:
    """Finds topics by words: in Latin letters whole words, in Korean those that a word begins with."""

    def __init__(self, topics: Mapping[str, Mapping[str, float]]) -> None:
        self._says: dict[str, list[tuple[str, float]]] = {}
        for topic, words in topics.items():
            for word, weight in words.items():
                self._says.setdefault(word.lower(), []).append((topic, weight))
        # One word of ASCII is looked up among those of the text; the others are looked for.
        self._single = frozenset(word for word in self._says if _WORD.fullmatch(word))
        self._phrases = tuple(word for word in self._says if word.isascii() and word not in self._single)
        self._korean = tuple(word for word in self._says if not word.isascii())

    def find(self, low: str) -> Mapping[str, float]:
        """How much speaks for each topic within a stretch of a text in lower case: the sum of its words' weights."""
        there = self._single.intersection(_WORD.findall(low))
        others = self._phrases if low.isascii() else (*self._phrases, *self._korean)
        found = sorted((at, word) for word in (*there, *others) if word in low for at in _places(word, low))
        best: dict[str, float] = {}
        first = 0
        for last, (at, _) in enumerate(found):
            while at - found[first][0] > WITHIN:
                first += 1
            if last + 1 < len(found) and found[last + 1][0] - found[first][0] <= WITHIN:
                continue  # a larger stretch begins here, too
            totals: dict[str, float] = {}
            for word in {one for _, one in found[first : last + 1]}:
                for topic, weight in self._says[word]:
                    totals[topic] = totals.get(topic, 0.0) + weight
            for topic, total in totals.items():
                best[topic] = max(best.get(topic, 0.0), total)
        return best


_WORD: Final = re.compile(r"[a-z0-9]+")
_APART: Final = WITHIN // 4  # once in so many characters is enough


def _places(word: str, low: str) -> Iterator[int]:
    at = low.find(word)
    while at >= 0:
        end = at + len(word)
        if not (_joined(low[at - 1 : at], word[0]) or (word[-1].isascii() and _joined(word[-1], low[end : end + 1]))):
            yield at
            end = at + _APART
        at = low.find(word, end)


def _joined(one: str, other: str) -> bool:
    """Whether two characters are of one word: both of ASCII, or both of another script."""
    return one.isalnum() and other.isalnum() and one.isascii() == other.isascii()
