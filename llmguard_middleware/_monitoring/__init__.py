"""Monitors in the background: one bounded queue, threads and a loop to score on, and exact books."""

from ._monitors import Monitors
from ._privacy import without_personal_data
from ._queue import MonitorQueue, MonitorStats

__all__ = ["MonitorQueue", "MonitorStats", "Monitors", "without_personal_data"]
