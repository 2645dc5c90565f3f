"""What calls of tools add to the metrics of their process."""

import time
from types import TracebackType
from typing import Self

from actors.mcp_pool.adapters import metrics
from schemas.tools import FailTool, FinishTool

UNKNOWN = "unknown"
"""Stands for names that nobody knows: a model may ask for any."""


class CallMark:
    """What is known of a call while it goes on. ``is_sent``: bytes of it may have left."""

    __slots__ = ("era", "is_sent", "lane", "tool")

    def __init__(self) -> None:
        self.is_sent = False
        self.tool = self.lane = self.era = UNKNOWN


class ToolMeter:
    """Counts one call while it is entered."""

    def __init__(self, server: str, mark: CallMark) -> None:
        self._server = server
        self._mark = mark
        self._outcome = "cancelled"
        self._began = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def ended(self, report: FinishTool | FailTool) -> None:
        """Take note of the outcome."""
        match report:
            case FailTool():
                self._outcome = report.outcome
            case FinishTool():
                self._outcome = "tool_error" if report.result.is_error else "ok"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        mark = self._mark
        server = UNKNOWN if mark.tool == UNKNOWN else self._server
        metrics.CALLS.at(server, mark.tool, self._outcome).inc()
        seconds = time.perf_counter() - self._began
        metrics.SECONDS.at(server, mark.lane, mark.era or UNKNOWN).observe(seconds)
