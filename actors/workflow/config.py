"""The settings of a workflow process."""

from typing import Annotated

from bus.config import Config
from schemas.settings import Seconds, env


class WorkflowConfig(Config):
    """One process that owns instances of workflows, and makes their HTTP requests."""

    request_timeout: Annotated[
        Seconds,
        env(
            "CALLBOARD_REQUEST_TIMEOUT",
            "seconds a request waits for the owner of its execution; it covers two owners lost",
        ),
    ] = 10.0
