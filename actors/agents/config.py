"""The settings of an agents process."""

import msgspec

from actors.agents.core.spending import Manner
from bus.config import Config
from bus.secrets import usual_hosts


class AgentsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds an execution unless its agent says otherwise, and how the state is sharded."""

    shards: int = 16
    """Shards of the execution entity, the same for every process of a fleet, for ever."""

    execution_timeout: float = 300.0
    """Seconds from acceptance to the end."""

    max_attempts: int = 5
    """Attempts of one step that may fail or be lost with their worker."""

    request_timeout: float = 10.0
    """Seconds a request waits for the owner of its execution."""

    manner: Manner = Manner()
    """How it is reckoned what an attempt may cost, where budgets hold."""


def settings(config: Config) -> AgentsConfig:
    """Return this actor's part of the settings."""
    return AgentsConfig(
        shards=config.shards,
        execution_timeout=config.execution_timeout,
        max_attempts=config.max_attempts,
        manner=Manner(
            strict=config.budget_bound == "strict",
            factor=config.budget_estimate_factor,
            answer_tokens=config.budget_answer_tokens,
            slice_tokens=config.budget_slice_tokens,
            waits=config.budget_when_refused == "wait",
            unpriced=config.budget_unpriced,
            usual_hosts=usual_hosts(),
        ),
    )
