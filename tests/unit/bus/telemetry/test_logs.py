"""Log lines as they are written."""

import io
import logging
from datetime import datetime
from typing import Any

import msgspec
import pytest
import structlog

from bus.errors import DeadlineError
from bus.telemetry import logs
from bus.telemetry.context import bound
from bus.telemetry.traces import handling

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def parse(text: str):
    raise ValueError(f"cannot parse: {text}")


def written(stream: io.StringIO) -> list[dict[str, Any]]:
    lines = [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]
    for line in lines:
        datetime.fromisoformat(line.pop("at"))
    return lines


def test_a_line_says_who_what_and_for_whom():
    stream = io.StringIO()
    logs.configure("info", "auto", stream=stream, actor="streaming", process="p1")
    log = structlog.get_logger()
    with (
        handling("work", "_cb.work.{queue}.{tenant}", parent=TRACE, tenant="acme"),
        bound(execution_id="e1"),
    ):
        log.info("streaming.finished", tokens=12, ms=3.5)
    assert written(stream) == [
        {
            "level": "info",
            "actor": "streaming",
            "process": "p1",
            "tenant": "acme",
            "execution_id": "e1",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "event": "streaming.finished",
            "tokens": 12,
            "ms": 3.5,
        }
    ]


def test_lines_below_the_level_are_not_written():
    stream = io.StringIO()
    logs.configure("warning", "json", stream=stream)
    structlog.get_logger().info("quiet")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_it_is_known_whether_details_are_written(level: logs.Level):
    stream = io.StringIO()
    logs.configure(level, "json", stream=stream)
    structlog.get_logger().debug("detail")
    assert logs.says_details() == bool(stream.getvalue())


def test_secrets_and_texts_stay_out():
    stream = io.StringIO()
    logs.configure("info", "json", stream=stream)
    structlog.get_logger().info("asked", api_key="sk-made-up-key", prompt="my diary", ok=True)
    assert written(stream) == [{"level": "info", "event": "asked", "ok": True}]


def test_of_a_foreign_error_only_type_and_place_are_written():
    stream = io.StringIO()
    logs.configure("info", "json", stream=stream)
    try:
        parse("my diary")
    except ValueError:
        structlog.get_logger().exception("work.failed")
    (line,) = written(stream)
    here, inside = line.pop("error_at")
    assert line == {"level": "error", "event": "work.failed", "error_type": "ValueError"}
    assert here.startswith("telemetry/test_logs.py:")
    assert inside.endswith(" parse")
    assert "diary" not in stream.getvalue()


def test_of_our_own_error_the_text_is_written_too():
    stream = io.StringIO()
    logs.configure("info", "json", stream=stream)
    structlog.get_logger().error("work.failed", exc_info=DeadlineError("_cb.cmd.x.1", 2.0))
    assert written(stream) == [
        {
            "level": "error",
            "event": "work.failed",
            "error_type": "DeadlineError",
            "error_at": [],
            "error_text": "_cb.cmd.x.1: no answer in 2 s",
        }
    ]


def test_warnings_of_libraries_come_along_without_their_arguments():
    stream = io.StringIO()
    logs.configure("info", "json", stream=stream)
    logging.getLogger("httpx").warning("cannot decode %r", "my diary")
    logging.getLogger("httpx").info("GET /")
    logging.getLogger("asyncio").error("never retrieved\nexception=ValueError('my diary')")
    lines = [(line["level"], line["library"], line["said"]) for line in written(stream)]
    assert lines == [
        ("warning", "httpx", "cannot decode %r"),
        ("error", "asyncio", "never retrieved"),
    ]


def test_a_terminal_gets_lines_for_people_and_errors_without_their_text():
    stream = Terminal()
    logs.configure("info", "auto", stream=stream, actor="agents")
    try:
        parse("my diary")
    except ValueError:
        structlog.get_logger().exception("work.failed", secret="sk-made-up-key")
    shown = stream.getvalue()
    assert "work.failed" in shown
    assert "\x1b[" in shown
    assert "diary" not in shown
    assert "made-up" not in shown
