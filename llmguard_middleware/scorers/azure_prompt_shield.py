"""azure_prompt_shield: Prompt Shields of Azure AI Content Safety, for what users say and for what documents hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .._checks import expect_bool
from .._score import Score
from ._vendors._azure import MOST, AzureScorer, settings_of
from ._vendors._failures import answer_is_none, refused
from ._vendors._remote import extra
from ._vendors._settings import named

__all__ = ["AzurePromptShield", "azure_prompt_shield"]

# As Azure OpenAI's content filter calls them.
_LABELS: Final = {False: "jailbreak", True: "indirect_attack"}


class AzurePromptShield(AzureScorer):
    """Flags attacks on instructions; value is 1 for an attack, 0 for none."""

    def __init__(self, settings: Mapping[str, Any], client: Any, most: int, version: str, *, documents: bool) -> None:
        super().__init__(
            "azure_prompt_shield", f"{'documents' if documents else 'prompts'}, {version}", settings, client, most
        )
        self._documents, self._version = documents, version

    def score(self, text: str) -> Score:
        """Label is `jailbreak` for a user's attack, `indirect_attack` for one inside a document.

        Raises:
            ScorerError: if it could not be asked.
        """
        attacks = [self._asked(piece.text) for piece in self.pieces(text, MOST)]
        if not attacks:
            return Score(value=0.0)
        found = any(attacks)
        return Score(
            value=float(found),
            flagged=found,
            label=_LABELS[self._documents] if found else "",
            metadata={"requests": len(attacks)},
        )

    def _asked(self, text: str) -> bool:
        # The client has no method for it; `send_request` is its way to ask for what it has none for.
        request = extra("azure.core.rest", "azure", self.name).HttpRequest(
            "POST",
            "/text:shieldPrompt",
            params={"api-version": self._version},
            json={"userPrompt": "", "documents": [text]} if self._documents else {"userPrompt": text, "documents": []},
        )
        client = self.client

        def answer() -> Any:
            response = client.send_request(request)
            if response.status_code >= 400:  # noqa: PLR2004 - refused
                raise refused(self.who, response.status_code, _code(response), "endpoint and credential")
            return response.json()

        return self._read(self.ask(answer))

    def _read(self, raw: Any) -> bool:
        try:
            found = raw["documentsAnalysis"] if self._documents else [raw["userPromptAnalysis"]]
            (attack,) = [one["attackDetected"] for one in found]
        except (KeyError, TypeError, ValueError) as error:
            raise answer_is_none(self.who, type(error).__name__) from None
        if not isinstance(attack, bool):
            raise answer_is_none(self.who, "it does not say whether it is an attack")
        return attack


def _code(response: Any) -> Any:
    try:
        return response.json()["error"]["code"]
    except Exception:  # noqa: BLE001 - of whatever the answer is made
        return None


def azure_prompt_shield(
    endpoint: str = "",
    credential: Any = None,
    *,
    documents: bool = False,
    api_version: str = "2024-09-01",
    timeout: float = 4.0,
    max_requests: int = 20,
    client_kwargs: Mapping[str, Any] | None = None,
    client: Any = None,
) -> AzurePromptShield:
    """Have texts judged by Azure's Prompt Shields (extra `[azure]`). The texts go to Azure, which charges for them.

    Args:
        endpoint: of the resource, such as `https://<resource>.cognitiveservices.azure.com`.
        credential: its key, or a credential of azure-core or azure-identity.
        documents: whether the texts are documents and results of tools, not what a user says.
        api_version: of `text:shieldPrompt`.
        timeout: seconds for a connection and for an answer.
        max_requests: how many a long text may take; a longer one cannot be scored.
        client_kwargs: what else `ContentSafetyClient` takes: headers, proxies, ...
        client: a `ContentSafetyClient` to use in place of one that is made.

    Raises:
        ConfigurationError: for a setting of the wrong kind.
    """
    name = "azure_prompt_shield"
    expect_bool(documents, f"documents of {name}()")
    named(api_version, "an api_version", name, 'api_version="2024-09-01"')
    settings = settings_of(name, endpoint, credential, timeout, client_kwargs, client)
    return AzurePromptShield(settings, client, max_requests, api_version, documents=documents)
