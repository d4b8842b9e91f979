"""azure_content_safety: hate, self-harm, sexual content and violence by severity, and blocklists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from .._checks import expect_bool
from .._score import Score
from ..errors import ConfigurationError
from ._vendors._azure import MOST, AzureScorer, settings_of
from ._vendors._failures import answer_is_none
from ._vendors._settings import bounds, in_range, texts

__all__ = ["AzureContentSafety", "azure_content_safety"]

# As Azure OpenAI's content filter calls them, and as this service does.
_CATEGORIES: Final = {"hate": "Hate", "self_harm": "SelfHarm", "sexual": "Sexual", "violence": "Violence"}
_NAMES: Final = {theirs: ours for ours, theirs in _CATEGORIES.items()}
_BLOCKLISTS: Final = "custom_blocklists"
_MOST_SEVERE: Final = 7


class _Rules(NamedTuple):
    threshold: float
    thresholds: Mapping[str, float]
    categories: tuple[str, ...]
    blocklists: tuple[str, ...]
    halts: bool

    def told(self) -> str:
        """For people."""
        limits = [f"{name} {self.thresholds.get(name, self.threshold):g}" for name in self.categories]
        lists = f"blocklists {' '.join(self.blocklists)}{' (halts)' if self.halts else ''}"
        return ", ".join([*limits, *([lists] if self.blocklists else [])])

    def flags(self, name: str, severity: int) -> bool:
        return severity >= self.thresholds.get(name, self.threshold)


class _Result(NamedTuple):
    severities: Mapping[str, int]
    hits: tuple[tuple[str, str], ...]


class AzureContentSafety(AzureScorer):
    """Flags what is as severe as a threshold or on a blocklist; value is the greatest severity, 0 to 7."""

    def __init__(self, rules: _Rules, settings: Mapping[str, Any], client: Any, most: int) -> None:
        super().__init__("azure_content_safety", rules.told(), settings, client, most)
        self._rules = rules

    def score(self, text: str) -> Score:
        """Label is the categories that are over their thresholds, and `custom_blocklists`.

        Raises:
            ScorerError: if it could not be asked.
        """
        results = [self._asked(piece.text) for piece in self.pieces(text, MOST)]
        if not results:
            return Score(value=0.0)
        severities: dict[str, int] = {}
        for result in results:
            for name, severity in result.severities.items():
                severities[name] = max(severity, severities.get(name, 0))
        hits = tuple(dict.fromkeys(hit for result in results for hit in result.hits))
        flagged = sorted(name for name, severity in severities.items() if self._rules.flags(name, severity))
        told = [f"{name} {severities[name]}" for name in sorted(flagged, key=lambda name: -severities[name])]
        told += [f'on blocklist "{name}"' for name in dict.fromkeys(name for name, _ in hits)]
        return Score(
            value=float(max(severities.values(), default=0)),
            flagged=bool(told),
            label=",".join([*flagged, *([_BLOCKLISTS] if hits else [])]),
            explanation=f"{self.who}: {', '.join(told)}" if told else "",
            metadata={
                "severities": severities,
                "blocklists": tuple({"name": name, "item": item} for name, item in hits),
                "requests": len(results),
            },
        )

    def _asked(self, text: str) -> _Result:
        client, rules = self.client, self._rules
        options: dict[str, Any] = {
            "text": text,
            "categories": [_CATEGORIES[name] for name in rules.categories],
            "outputType": "EightSeverityLevels",
        }
        if rules.blocklists:
            options.update(blocklistNames=list(rules.blocklists), haltOnBlocklistHit=rules.halts)
        return self._read(self.ask(lambda: client.analyze_text(options).as_dict()))

    def _read(self, raw: Any) -> _Result:
        try:
            found = {_NAMES.get(one["category"], ""): one["severity"] for one in raw.get("categoriesAnalysis") or ()}
            hits = tuple(
                (str(one["blocklistName"]), str(one["blocklistItemId"])) for one in raw.get("blocklistsMatch") or ()
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise answer_is_none(self.who, type(error).__name__) from None
        severities = {name: found[name] for name in self._rules.categories if name in found}
        if not all(isinstance(one, int) and in_range(one, 0, _MOST_SEVERE) for one in severities.values()):
            raise answer_is_none(self.who, "its severities are none from 0 to 7")
        missing = [name for name in self._rules.categories if name not in severities]
        if missing and not (hits and self._rules.halts):
            raise answer_is_none(self.who, f"it has no severity of {missing[0]}")
        return _Result(severities, hits)


def azure_content_safety(
    endpoint: str = "",
    credential: Any = None,
    *,
    threshold: float = 4,
    thresholds: Mapping[str, float] | None = None,
    categories: Sequence[str] = tuple(_CATEGORIES),
    blocklists: Sequence[str] = (),
    halt_on_blocklist_hit: bool = False,
    timeout: float = 4.0,
    max_requests: int = 20,
    client_kwargs: Mapping[str, Any] | None = None,
    client: Any = None,
) -> AzureContentSafety:
    """Have texts judged by Azure AI Content Safety (extra `[azure]`). The texts go to Azure, which charges for them.

    Args:
        endpoint: of the resource, such as `https://<resource>.cognitiveservices.azure.com`.
        credential: its key, or a credential of azure-core or azure-identity.
        threshold: flag a category whose severity is this or more, 0 to 7 (Azure's own levels: low 2, medium 4, high 6).
        thresholds: the same for one category each, such as `{"violence": 2}`.
        categories: which of hate, self_harm, sexual and violence are judged.
        blocklists: names of the resource's blocklists; a hit always flags.
        halt_on_blocklist_hit: do not judge categories where a blocklist is hit.
        timeout: seconds for a connection and for an answer.
        max_requests: how many a long text may take; a longer one cannot be scored.
        client_kwargs: what else `ContentSafetyClient` takes: api_version, headers, proxies, ...
        client: a `ContentSafetyClient` to use in place of one that is made.

    Raises:
        ConfigurationError: for a setting of the wrong kind.
    """
    name = "azure_content_safety"
    if not in_range(threshold, 0, _MOST_SEVERE):
        msg = f"threshold of {name}() is {threshold!r}; give a number from 0 to 7"
        raise ConfigurationError(msg)
    chosen = texts(categories, f"categories of {name}()", _CATEGORIES)
    lists = texts(blocklists, f"blocklists of {name}()")
    if not chosen and not lists:
        msg = f"{name}() has nothing to judge; give categories or blocklists"
        raise ConfigurationError(msg)
    single = bounds(thresholds, f"thresholds of {name}()", 0, _MOST_SEVERE)
    texts(single, f"thresholds of {name}()", chosen)
    expect_bool(halt_on_blocklist_hit, f"halt_on_blocklist_hit of {name}()")
    rules = _Rules(float(threshold), single, chosen, lists, halt_on_blocklist_hit)
    settings = settings_of(name, endpoint, credential, timeout, client_kwargs, client)
    return AzureContentSafety(rules, settings, client, max_requests)
