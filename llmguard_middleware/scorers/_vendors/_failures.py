"""How a vendor's service fails, told in sentences of our own: those of clients may quote a text or a key."""

from __future__ import annotations

import re

from ...errors import ScorerError

__all__ = ["ServiceError", "answer_is_none", "refused", "unreachable"]

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,63}\Z")


class ServiceError(ScorerError, ConnectionError):
    """The service did not answer, or refused us: no text's doing, so it counts as an outage for a circuit breaker.

    Attributes:
        again: whether it is worth asking once more at once.
    """

    again = False

    def __init__(self, sentence: str, *, again: bool = False) -> None:
        super().__init__(sentence)
        self.again = again


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
        return ServiceError(f"{who} refused the credentials: {told}; check {check}")
    if status == 404:  # noqa: PLR2004 - not found
        return ServiceError(f"{who} does not know what it was asked for: {told}; check {check}")
    if status == 429:  # noqa: PLR2004 - too many requests
        return ServiceError(f"{who} is asked too much or too often: {told}")
    if status == 408 or status >= 500:  # noqa: PLR2004 - request time-out; the server's failures
        return ServiceError(f"{who} failed: {told}", again=True)
    return ScorerError(f"{who} refused the request: {told}")


def unreachable(who: str, error: Exception, *, late: bool) -> ServiceError:
    """No answer: the connection broke or was never made, or the answer came too `late`."""
    how = "did not answer in time" if late else "cannot be reached"
    return ServiceError(f"{who} {how}: {type(error).__name__}", again=not late)


def answer_is_none(who: str, why: str) -> ServiceError:
    """An answer that does not say what it has to: of a proxy, perhaps, or of another service."""
    return ServiceError(f"{who} gave an answer that cannot be read: {why}")
