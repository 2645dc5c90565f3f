"""Turns logs and traces on for one process."""

from collections.abc import Callable

from bus.config import Config
from bus.telemetry import logs, traces


def start(config: Config, *, actor: str, process: str) -> Callable[[], None]:
    """Configure this process by its settings and return the way to send what is left.

    That way blocks for as long as a collector takes; call it in a thread, within the drain's bound.

    Raises:
        ConfigError: traces are wanted and their exporter is not installed.
    """
    logs.configure(config.log_level, config.log_format, actor=actor, process=process)
    stop: Callable[[], None] = _nothing
    if config.otlp_endpoint is not None:
        stop = traces.export(f"callboard-{actor}", process)
    return stop


def _nothing() -> None:
    """Stop what was never started."""
