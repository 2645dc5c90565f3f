"""The settings of an agents process."""

import msgspec

from actors.agents.core.spending import Manner


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
