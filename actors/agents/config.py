"""The settings of an agents process."""

from typing import Annotated

import msgspec

from actors.agents.core.spending import SpendingPolicy
from bus.config import Config
from schemas.budgets import OperatorLimits
from schemas.settings import Seconds, env


class AgentsConfig(Config):
    """What bounds an execution unless its agent says otherwise."""

    limits: OperatorLimits = OperatorLimits()
    execution_timeout: Annotated[
        Seconds, env("EXECUTION_TIMEOUT", "seconds an execution may take, unless its agent says")
    ] = 300.0
    max_attempts: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=20)],
        env("MAX_ATTEMPTS", "attempts of one step, unless the agent says"),
    ] = 5
    request_timeout: Annotated[
        Seconds,
        env(
            "CALLBOARD_REQUEST_TIMEOUT",
            "seconds a request waits for the owner of its execution; it covers two owners lost",
        ),
    ] = 10.0
    spending_policy: SpendingPolicy = SpendingPolicy()
