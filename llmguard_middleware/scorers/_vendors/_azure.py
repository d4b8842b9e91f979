"""What the scorers that ask Azure AI Content Safety share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..._checks import expect_seconds
from ...errors import ConfigurationError, ScorerError
from ._failures import answer_is_none, refused, unreachable
from ._remote import Remote, extra
from ._settings import keywords, named, place

__all__ = ["MOST", "AzureScorer", "settings_of"]

MOST: Final = 10_000  # characters in one request


class AzureScorer(Remote):
    """Base: its client is azure-ai-contentsafety's."""

    who = "Azure AI Content Safety"

    def __init__(self, name: str, told: str, settings: Mapping[str, Any], client: Any, most: int) -> None:
        super().__init__(name, f"{told}{place(settings['endpoint'])}", client, most)
        self._settings = dict(settings)

    def connect(self) -> Any:
        """A `ContentSafetyClient`."""
        azure = extra("azure.ai.contentsafety", "azure", self.name)
        key = extra("azure.core.credentials", "azure", self.name).AzureKeyCredential
        settings = dict(self._settings)
        if isinstance(settings["credential"], str):
            settings["credential"] = key(settings["credential"])
        try:
            return azure.ContentSafetyClient(**settings)
        except (TypeError, ValueError) as error:
            failed = type(error).__name__
        msg = f"{self.name}() cannot make a client ({failed}); give its key, or a credential of azure-identity"
        raise ConfigurationError(msg)

    def failure(self, error: Exception) -> ScorerError:
        """What the client's error says."""
        exceptions = extra("azure.core.exceptions", "azure", self.name)
        if isinstance(error, (exceptions.ServiceRequestError, exceptions.ServiceResponseError, OSError)):
            # Older versions have no classes of their own for what is late, only what is inside.
            inside = getattr(error, "inner_exception", None)
            late = any("Timeout" in type(one).__name__ for one in (error, inside, *getattr(inside, "args", ())))
            return unreachable(self.who, error, late=late)
        status = error.status_code if isinstance(error, exceptions.HttpResponseError) else None
        if status is not None and status >= 400:  # noqa: PLR2004 - refused
            code = getattr(getattr(error, "error", None), "code", None)
            return refused(self.who, status, code, "endpoint and credential")
        if isinstance(error, (exceptions.DecodeError, exceptions.DeserializationError, AttributeError, ValueError)):
            return answer_is_none(self.who, type(error).__name__)
        return super().failure(error)


def settings_of(
    scorer: str, endpoint: Any, credential: Any, timeout: Any, client_kwargs: Any, client: Any
) -> Mapping[str, Any]:
    """What a client is made of.

    Raises:
        ConfigurationError: for a setting of the wrong kind.
    """
    example = f'{scorer}("https://<resource>.cognitiveservices.azure.com", key)'
    if client is None:
        named(endpoint, "the endpoint of the resource", scorer, example)
        if not (hasattr(credential, "get_token") or hasattr(credential, "key")):
            named(credential, "a key or a credential", scorer, example)
    expect_seconds(timeout, f"timeout of {scorer}()")
    return {
        "endpoint": endpoint or "",
        "credential": credential,
        "connection_timeout": timeout,
        "read_timeout": timeout,
        "retry_total": 0,
        **keywords(client_kwargs, "client_kwargs"),
    }
