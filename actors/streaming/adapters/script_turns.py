"""Which response of a script comes next, over all processes: a counter for each tenant and script.

A call takes a number that no other call has, also one that fails or is made again. The counters lie
in a bucket that forgets the oldest, and each after a week without a call: then a script begins at
its first response.
"""

import hashlib

import anyio
import msgspec

from actors.streaming.core.errors.faults import fault
from bus.errors import FencedError, TransientError
from bus.kv import Bucket, Store
from schemas.ids import TenantId
from schemas.providers import Scripted

_KEPT_SECONDS = 7 * 86_400.0

TRIES = 20
"""A process that wins a number makes each of the others try once more."""


class ScriptTurn(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls of a script have been made."""

    calls: int


SCRIPTS = Store(
    bucket="scripts",
    kind=ScriptTurn,
    max_bytes=16 * 1024 * 1024,
    max_age=_KEPT_SECONDS,
    forgets=True,
)


class ScriptTurns:
    """Counts the calls of scripts."""

    def __init__(self, bucket: Bucket[ScriptTurn]) -> None:
        self._bucket = bucket
        # Within a process nobody loses a race for a number.
        self._alone = anyio.Lock()

    async def take(self, tenant: TenantId, script: Scripted) -> int:
        """Return how many calls of a script there were before this one.

        Raises:
            ProviderFaultError: ``unavailable``.
        """
        if len(script.responses) == 1:
            return 0
        key = f"{tenant}.{hashlib.sha256(msgspec.json.encode(script)).hexdigest()}"
        async with self._alone:
            for _ in range(TRIES):
                try:
                    return await self._taken(key)
                except FencedError:
                    continue
                except TransientError:
                    break
        raise fault("unavailable", "The turns of scripts cannot be counted now.")

    async def _taken(self, key: str) -> int:
        entry = await self._bucket.get(key)
        before, revision = (entry.value.calls, entry.revision) if entry else (0, 0)
        await self._bucket.put(key, ScriptTurn(calls=before + 1), expected=revision)
        return before
