"""Log lines: a constant dotted name and key-values, as JSON for machines or coloured for people.

Of an error the type and the places in the code are written. Its text is written only if it is one
of ours or the operating system's: any other may quote what a user wrote.
"""

import logging
import sys
from collections.abc import MutableMapping
from pathlib import Path
from traceback import StackSummary, walk_tb
from typing import Any, Literal, TextIO

import msgspec
import structlog

from bus.errors import CallboardError
from bus.telemetry.context import current
from bus.telemetry.redaction import redact
from schemas.printable import printable

Line = MutableMapping[str, Any]
Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]

MOST_FRAMES = 12
"""Places in the code written of one error, the innermost ones."""

_LEVELS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_SHOWN_AS = {"warn": "warning", "exception": "error"}
"""Methods of a logger that are not named like their level."""

_stamped = structlog.processors.TimeStamper(fmt="iso", utc=True, key="at")

_COARSE = frozenset(
    structlog.make_filtering_bound_logger(level)
    for level in _LEVELS.values()
    if level > logging.DEBUG
)


def configure(
    level: Level,
    style: Format,
    *,
    stream: TextIO | None = None,
    **fields: str,
) -> None:
    """Send all log lines of this process to ``stream`` (standard output), each with ``fields``.

    The libraries' own warnings come along, as ``library.warned``.
    """
    target = sys.stdout if stream is None else stream
    console = style == "console" or (style == "auto" and target.isatty())
    collect = _Collect(fields)
    structlog.configure(
        processors=[collect, _printable, _console(target)] if console else [collect, _as_json],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_FromLibraries()], force=True)


def says_details() -> bool:
    """Say whether lines at level debug are written: asking spares what a line would hold."""
    return structlog.get_config()["wrapper_class"] not in _COARSE


class _Collect:
    """Makes the whole line: when and how grave, who writes, what for, and what may be said of it.

    One step of it, because each execution is a line.
    """

    def __init__(self, fields: dict[str, str]) -> None:
        self._fields = redact(fields)

    def __call__(self, _logger: Any, method: str, line: Line) -> Line:
        context = current()
        if (info := line.pop("exc_info", None)) is not None:
            _describe(_error_of(info), line)
        if context.fields:
            line = {**context.fields, **line}
        if context.trace:
            line.setdefault("trace_id", context.trace.split("-")[1])
        first = {"at": "", "level": _SHOWN_AS.get(method, method)}
        _stamped(_logger, method, first)
        return {**first, **self._fields, **redact(line), **first}


def _describe(error: BaseException | None, line: Line) -> None:
    if error is not None:
        line["error_type"] = type(error).__name__
        line["error_at"] = _places(error)
        if isinstance(error, CallboardError | OSError):
            line["error_text"] = str(error)


def _error_of(info: Any) -> BaseException | None:
    match info:
        case BaseException():
            return info
        case (_, BaseException() as error, _):
            return error
        case None | False:
            return None
        case _:
            return sys.exc_info()[1]


def _places(error: BaseException) -> list[str]:
    """Return where the error passed, innermost last; the lines of code themselves stay out."""
    frames = StackSummary.extract(walk_tb(error.__traceback__), lookup_lines=False)
    return [
        f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}"
        for frame in frames[-MOST_FRAMES:]
    ]


def _console(target: TextIO) -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(colors=target.isatty(), timestamp_key="at", pad_event_to=0)


def _as_json(_logger: Any, _method: str, line: Line) -> str:
    return printable(msgspec.json.encode(line).decode())


def _printable(_logger: Any, _method: str, line: Line) -> Line:
    return {
        name: printable(value, one_line=True) if isinstance(value, str) else value
        for name, value in line.items()
    }


class _FromLibraries(logging.Handler):
    """Passes on what libraries log through the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record as one of our lines.

        Only the first line of its template is kept: its arguments may quote what a user wrote.
        """
        structlog.get_logger().log(
            record.levelno,
            "library.warned",
            library=record.name,
            said=str(record.msg).partition("\n")[0],
            exc_info=record.exc_info[1] if record.exc_info else None,
        )
