"""bedrock_guardrail: Amazon Bedrock Guardrails, asked through `ApplyGuardrail` for any model's texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from .._checks import expect_bool, expect_seconds
from .._score import Score, TextSpan
from ..errors import ConfigurationError, ScorerError, ScorerServiceError
from ._vendors import _assessments as assessments
from ._vendors._failures import answer_is_none, refused, unjudged, unreachable
from ._vendors._masks import Mask, applied, joined, masks
from ._vendors._pieces import Piece, sendable
from ._vendors._remote import Remote, extra
from ._vendors._settings import choice, keywords, named, place

__all__ = ["BedrockGuardrail", "bedrock_guardrail"]

# 25 text units of 1,000 characters; UTF-16 counts at least as many characters as any way to count them.
_MOST_BYTES: Final = 25_000 * 2
_VERSION: Final = re.compile(r"DRAFT|[1-9][0-9]{0,7}")
_SOURCES: Final = ("auto", "INPUT", "OUTPUT")


class BedrockGuardrail(Remote):
    """Flags what the guardrail intervenes on; label is the kinds of what it found."""

    who = assessments.WHO

    def __init__(
        self,
        guardrail: str,
        version: str,
        source: str,
        settings: Mapping[str, Any],
        client: Any,
        most: int,
        *,
        spans: bool,
    ) -> None:
        where = f"{settings.get('region_name') or 'the default region'}{place(settings.get('endpoint_url'))}"
        told = f"{guardrail} {version} in {where}, source {source}{', spans' if spans else ''}"
        super().__init__("bedrock_guardrail", told, client, most)
        self._guardrail, self._version, self._source, self._spans = guardrail, version, source, spans
        self._settings = dict(settings)

    def score(self, text: str, output: Any = None) -> Score:
        """Value 1 if the guardrail intervened, 0 if not; `modified` is what it puts in the place of the text.

        Raises:
            ScorerError: if it could not be asked.
        """
        # At other stages there is no output, unless an input of the caller's has that name.
        answered = output is not None and (not isinstance(output, str) or output == text)
        source = ("OUTPUT" if answered else "INPUT") if self._source == "auto" else self._source
        asked = [(piece, self._asked(piece.text, source)) for piece in self.pieces(text, _MOST_BYTES, "utf-16-le")]
        return self._joined(sendable(text), source, asked) if asked else Score(value=0.0)

    def _asked(self, text: str, source: str) -> assessments.Answer:
        client = self.client
        return assessments.read(
            self.ask(
                lambda: client.apply_guardrail(
                    guardrailIdentifier=self._guardrail,
                    guardrailVersion=self._version,
                    source=source,
                    content=[{"text": {"text": text}}],
                )
            )
        )

    def _joined(self, text: str, source: str, asked: Sequence[tuple[Piece, assessments.Answer]]) -> Score:
        answers = [answer for _, answer in asked]
        usage: Counter[str] = Counter()
        for answer in answers:
            usage.update(answer.usage)
        blocked = next((answer for answer in answers if answer.blocked), None)
        intervened = any(answer.intervened for answer in answers)
        acted = [one for answer in answers for one in answer.acted]
        metadata = {
            "action": "BLOCKED" if blocked else "ANONYMIZED" if intervened else "NONE",
            "source": source,
            "findings": tuple(one.told() for answer in answers for one in answer.found),
            "usage": dict(usage),
            "requests": len(asked),
        }
        if not intervened:
            return Score(value=0.0, metadata=metadata)
        found = None if blocked else self._masked(text, asked)
        if blocked is not None:
            modified = blocked.text
        elif len(asked) == 1:
            modified = answers[0].text
        else:
            modified = applied(text, found or ())
        return Score(
            value=1.0,
            flagged=True,
            label=",".join(sorted({one.kind for one in acted})) or "GUARDRAIL_INTERVENED",
            explanation=_told(acted),
            spans=tuple(TextSpan(mask.start, mask.end, mask.kind) for mask in found or ()) if self._spans else (),
            metadata=metadata,
            modified=modified,
        )

    def _masked(self, text: str, asked: Sequence[tuple[Piece, assessments.Answer]]) -> list[Mask] | None:
        """Where it masked; None if nobody has to know."""
        if len(asked) == 1 and not self._spans:
            return None
        found: list[Mask] = []
        for (start, piece), answer in asked:
            if not answer.intervened:
                continue
            matches = [(one.match, one.name) for one in answer.acted]
            places = None if answer.text is None else masks(piece, answer.text, matches)
            if places is None:
                raise unjudged(self.who, "what it masked cannot be found in it")
            found += (mask._replace(start=mask.start + start, end=mask.end + start) for mask in places)
        return joined(found)

    def connect(self) -> Any:
        """A client of `bedrock-runtime`."""
        boto3 = extra("boto3", "bedrock", self.name)
        exceptions = extra("botocore.exceptions", "bedrock", self.name)
        config = extra("botocore.config", "bedrock", self.name).Config
        settings = dict(self._settings)
        own = config(**_limits(settings.pop("timeout")))
        given = settings.pop("config", None)
        try:
            if given is not None:
                own = own.merge(config(**given) if isinstance(given, Mapping) else given)
            return boto3.session.Session().client("bedrock-runtime", config=own, **settings)
        except exceptions.NoRegionError as error:
            msg = f'{self.name}() knows no region: bedrock_runtime_kwargs={{"region_name": "us-east-1"}}, or AWS_REGION'
            raise ConfigurationError(msg) from error
        except (exceptions.BotoCoreError, TypeError, ValueError) as error:
            failed = type(error).__name__
        msg = f"{self.name}() cannot make a client of bedrock_runtime_kwargs ({failed}); see boto3's Session.client"
        raise ConfigurationError(msg)

    def failure(self, error: Exception) -> ScorerError:
        """What boto3's error says."""
        exceptions = extra("botocore.exceptions", "bedrock", self.name)
        if isinstance(error, exceptions.ClientError):
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0
            code = error.response.get("Error", {}).get("Code")
            throttled = code in ("ThrottlingException", "ServiceQuotaExceededException")
            check = (
                "guardrail_id, version and region"
                if status == 404  # noqa: PLR2004 - not found
                else "AWS's credentials and their permission bedrock:ApplyGuardrail"
            )
            return refused(self.who, 429 if throttled else status, code, check)
        if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
            return ScorerServiceError(f"{self.who} cannot be asked without AWS's credentials: {type(error).__name__}")
        if isinstance(error, (exceptions.ReadTimeoutError, exceptions.ConnectTimeoutError)):
            return unreachable(self.who, error, late=True)
        if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError, OSError)):
            return unreachable(self.who, error, late=False)
        unread = extra("botocore.parsers", "bedrock", self.name).ResponseParserError
        if isinstance(error, (unread, AttributeError, TypeError, ValueError)):
            return answer_is_none(self.who, type(error).__name__)
        return super().failure(error)


def _limits(timeout: float) -> dict[str, Any]:
    return {"connect_timeout": timeout, "read_timeout": timeout, "retries": {"total_max_attempts": 1}}


def _told(acted: Iterable[assessments.Found]) -> str:
    """A sentence for people, and for a model that is asked again: what it was, in the guardrail's own words."""
    words = []
    for one in dict.fromkeys(found._replace(match="") for found in acted):
        how = "masked" if one.action == "ANONYMIZED" else one.action.lower()
        name = one.kind if one.name == one.kind else f'{one.kind} "{one.name}"'
        words.append(f"{name} {how}" + (f" (confidence {one.confidence})" if one.confidence else ""))
    return f"{assessments.WHO}: {', '.join(words) or 'intervened'}"


def bedrock_guardrail(
    guardrail_id: str,
    version: str | int = "DRAFT",
    *,
    source: str = "auto",
    spans: bool = False,
    timeout: float = 4.0,
    max_requests: int = 20,
    bedrock_runtime_kwargs: Mapping[str, Any] | None = None,
    client: Any = None,
) -> BedrockGuardrail:
    """Have texts judged by Amazon Bedrock Guardrails (extra `[bedrock]`). The texts go to AWS, which charges for them.

    What it masks becomes a redaction: with `action="redact"` its masked text takes the place of the original, and so
    does, where it blocks, the text that was configured for that.

    Args:
        guardrail_id: id or ARN of the guardrail.
        version: its version, a number or DRAFT.
        source: what the guardrail is told that it sees: INPUT or OUTPUT; `auto` is OUTPUT at the output stage and in
            monitors, INPUT at all others.
        spans: tell where it masked, too: then redact, mask, hash and pseudonymize put in what they put in elsewhere.
        timeout: seconds for a connection and for an answer.
        max_requests: how many a long text may take; a longer one cannot be scored.
        bedrock_runtime_kwargs: of boto3's `Session.client`: region_name, endpoint_url, aws_access_key_id, ...;
            `config` may be a mapping of what botocore's Config takes.
        client: a `bedrock-runtime` client to use in place of one that is made; `timeout` is then its own business.

    Raises:
        ConfigurationError: for a setting of the wrong kind.
    """
    named(guardrail_id, "the id of a guardrail", "bedrock_guardrail", 'bedrock_guardrail("abc123def456", 3)')
    if isinstance(version, bool) or not _VERSION.fullmatch(str(version)):
        msg = f'version is {version!r}; give the number of a version of the guardrail, or "DRAFT"'
        raise ConfigurationError(msg)
    choice(source, _SOURCES, "source of bedrock_guardrail()")
    expect_bool(spans, "spans of bedrock_guardrail()")
    expect_seconds(timeout, "timeout of bedrock_guardrail()")
    settings = {**keywords(bedrock_runtime_kwargs, "bedrock_runtime_kwargs"), "timeout": timeout}
    return BedrockGuardrail(guardrail_id, str(version), source, settings, client, max_requests, spans=spans)
