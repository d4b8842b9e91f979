"""How a vendor's service fails, told in sentences of our own: those of clients may quote a text or a key."""

from __future__ import annotations

import re

from ...errors import ScorerError, ScorerServiceError

__all__ = ["answer_is_none", "refused", "unjudged", "unreachable"]

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,63}\Z")


def refused(who: str, status: int, code: object, check: str) -> ScorerError:
    """An answer with an HTTP status of 400 or more.

    Args:
        who: the service, as sentences call it.
        status: the status.
        code: the service's own word for it, told if it looks like one.
        check: what the user may have got wrong where the service does not let us in, or does not know what we name.
    """
    word = f" ({code})" if isinstance(code, str) and _CODE.match(code) else ""
    told = f"HTTP {status}{word}"
    if status in (401, 403):
        return ScorerServiceError(f"{who} refused the credentials: {told}; check {check}")
    if status == 404:  # noqa: PLR2004 - not found
        return ScorerServiceError(f"{who} does not know what it was asked for: {told}; check {check}")
    if status == 429:  # noqa: PLR2004 - too many requests
        return ScorerServiceError(f"{who} is asked too much or too often: {told}")
    if status == 408 or status >= 500:  # noqa: PLR2004 - request time-out; the server's failures
        return ScorerServiceError(f"{who} failed: {told}", retryable=True)
    return ScorerError(f"{who} refused the request: {told}")


def unreachable(who: str, error: Exception, *, late: bool) -> ScorerServiceError:
    """No answer: the connection broke or was never made, or the answer came too `late`."""
    how = "did not answer in time" if late else "cannot be reached"
    return ScorerServiceError(f"{who} {how}: {type(error).__name__}", retryable=not late)


def answer_is_none(who: str, why: str) -> ScorerServiceError:
    """An answer that does not say what it has to: of a proxy, perhaps, or of another service."""
    return ScorerServiceError(f"{who} gave an answer that cannot be read: {why}")


def unjudged(who: str, why: str) -> ScorerError:
    """An answer that is one, and does not settle the text: which a text may cause, so it is no outage."""
    return ScorerError(f"{who} did not judge the whole text: {why}")
