"""What an operator sees of each execution: a log line at its begin and its end, and metrics.

The lines carry ids, figures and the trace of the request; never a task, a prompt or an answer.
"""

import structlog

from actors.agents.adapters import metrics
from bus.telemetry.context import Bound, accept
from bus.telemetry.logs import says_details
from schemas.decision import Publish
from schemas.events import ExecutionAcceptedEvent, ExecutionEndedEvent

log = structlog.get_logger()

_AS_ASKED = ("completed", "cancelled")


def observe(publication: Publish) -> None:
    """Count and log the begin or the end of an execution once it is journalled.

    The begin is logged at level debug: it says nothing that the end does not.
    """
    match publication.body:
        case ExecutionEndedEvent() as ended:
            status = str(ended.__struct_config__.tag).removeprefix("execution.")
            metrics.EXECUTIONS.at(status).inc()
            metrics.EXECUTION_SECONDS.at(status).observe(ended.duration_ms / 1000)
            _log_end(publication, ended, status)
        case ExecutionAcceptedEvent() as begun if says_details():
            with Bound({}, accept(begun.traceparent)):
                log.debug("execution.accepted", **_place(publication, begun))
        case _:
            pass


def _log_end(publication: Publish, ended: ExecutionEndedEvent, status: str) -> None:
    write = log.info if status in _AS_ASKED else log.warning
    with Bound({}, accept(ended.traceparent)):
        write(
            "execution.ended",
            **_place(publication, ended),
            status=status,
            attempts=ended.attempts,
            tokens=ended.tokens_used,
            cost_pico=ended.cost,
            ms=ended.duration_ms,
            code=ended.error.code if ended.error else None,
        )


def _place(
    publication: Publish, body: ExecutionAcceptedEvent | ExecutionEndedEvent
) -> dict[str, str | None]:
    tenant = publication.subject.split(".", 2)[1]
    return {
        "tenant": tenant,
        "execution": body.execution_id,
        "agent": body.agent_id,
        "kind": body.kind,
    }
