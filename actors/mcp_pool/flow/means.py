"""What all pools of a process share, and the border to the clients of foreign libraries."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

import anyio
import structlog
from anyio.abc import TaskGroup

from actors.mcp_pool.core.upstream import ServerAddress, Upstream, UpstreamError
from actors.mcp_pool.flow.ledger import UpstreamLedger
from bus.errors import ProblemError

log = structlog.get_logger()

T = TypeVar("T")

Connect = Callable[[ServerAddress, bool], Upstream]
"""Makes an upstream; it may go anywhere where the operator has named the server."""


class PoolMeans(NamedTuple):
    """What pools open upstreams with; their tasks live in ``tasks``."""

    connect: Connect
    tasks: TaskGroup
    ledger: UpstreamLedger


async def answered(work: Awaitable[T], deadline: float, late: UpstreamError) -> T:
    """Return what an upstream answers; where it does not by a deadline, it is ``late``.

    Raises:
        UpstreamError: also where a client fails as nobody has foreseen.
    """
    with anyio.CancelScope(deadline=deadline):
        try:
            return await work
        except UpstreamError:
            raise
        except ProblemError as refused:
            raise UpstreamError("rejected", refused.problem.message) from None
        except Exception as error:  # noqa: BLE001  foreign code must not end other servers' calls
            # Without its traceback: what a client raises may quote what was sent.
            kind = type(error).__name__
            log.error("mcp_pool.client_failed", error=kind)  # noqa: TRY400
            raise UpstreamError(
                "protocol_error", f"the client failed with {kind}", sent=True
            ) from None
    raise late
