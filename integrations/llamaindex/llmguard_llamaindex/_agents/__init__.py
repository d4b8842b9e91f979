"""Agents behind a guard: their runs, their events, their tools, their memory."""

from ._attach import attach_agent, detach_agent, expect_idle, is_agent

__all__ = ["attach_agent", "detach_agent", "expect_idle", "is_agent"]
