"""Live check: what was captured, held against the OpenTelemetry GenAI semantic conventions and our own table."""

from ._check import violations

__all__ = ["violations"]
