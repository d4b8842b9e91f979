"""Libraries that report how they are used to their makers are told not to."""

from __future__ import annotations

import os
import sys

from ...errors import ConfigurationError

__all__ = ["deepeval_reports_nothing", "ragas_reports_nothing"]


def deepeval_reports_nothing() -> None:
    """DeepEval reads the variable whenever it is about to report. Whoever set it to something else is heeded."""
    os.environ.setdefault("DEEPEVAL_TELEMETRY_OPT_OUT", "1")


def ragas_reports_nothing() -> None:
    """Ragas reads the variable once.

    Raises:
        ConfigurationError: if it has read it before, so that it will report.
    """
    if os.environ.setdefault("RAGAS_DO_NOT_TRACK", "true").lower() != "true":
        return
    reports = getattr(sys.modules.get("ragas._analytics"), "do_not_track", None)
    if reports is not None and not reports():
        msg = (
            "ragas has begun to report its use to its makers, which cannot be stopped any more; "
            "set RAGAS_DO_NOT_TRACK=true before it is first used"
        )
        raise ConfigurationError(msg)
