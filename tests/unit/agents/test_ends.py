"""An operator finds each execution in the log of its owner, by its id and by its trace."""

from typing import Any

import msgspec
from structlog.testing import capture_logs

from actors.agents.adapters.ends import observe
from bus.telemetry.context import current
from tests.unit.agents.runs import REFUSED, Run, accept, fail, finish

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def run_of(*commands: Any) -> Run:
    wanted = accept()
    origin = msgspec.structs.replace(wanted.origin, trace=TRACE)
    run = Run()
    for command in (msgspec.structs.replace(wanted, origin=origin), *commands):
        run.take(command)
    return run


def written(run: Run) -> list[dict[str, Any]]:
    with capture_logs([_with_trace]) as lines:
        for publication in run.published:
            observe(publication)
    return [dict(line) for line in lines]


def _with_trace(_logger: Any, _method: str, line: Any) -> Any:
    trace = current().trace
    return {**line, "trace_id": trace.split("-")[1] if trace else None}


def test_each_end_is_a_line_with_figures_and_trace_and_no_text():
    begun, ended = written(run_of(finish(1, output=5)))

    assert (begun["event"], begun["log_level"]) == ("execution.accepted", "debug")
    assert ended == {
        "event": "execution.ended",
        "log_level": "info",
        "tenant": "acme",
        "execution": "e1",
        "agent": "reviewer",
        "kind": "generate",
        "status": "completed",
        "attempts": 1,
        "tokens": 5,
        "cost_pico": None,
        "ms": 0,
        "code": None,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }


def test_a_failure_is_a_warning_with_its_code():
    _, ended = written(run_of(fail(1, REFUSED)))

    assert (ended["log_level"], ended["status"], ended["code"]) == (
        "warning",
        "failed",
        "unauthorized",
    )
