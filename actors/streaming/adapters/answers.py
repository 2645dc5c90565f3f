"""Answers kept for identical requests: opt-in, by tenant, for as long as the policy says."""

from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
import structlog

from bus.errors import FencedError, ProblemError, TransientError
from bus.kv import Bucket
from bus.ports import Clock
from bus.streams.spec import StreamSpec, key_value_spec
from schemas.ids import TenantId
from schemas.llm import Answer
from schemas.policy import Cache
from schemas.usage import Usage

log = structlog.get_logger()

BUCKET = "answers"

_BYTES = 256 * 1024 * 1024
_LONGEST_SECONDS = 604_800.0
"""What a policy may ask for at most."""


def bucket_spec() -> StreamSpec:
    """Return the stream below the bucket: when it is full or a week has passed, the oldest go."""
    spec = key_value_spec(BUCKET, max_bytes=_BYTES)
    return replace(spec, max_age=_LONGEST_SECONDS, refuse_when_full=False, lazy=True)


class KeptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, and until when it may be given again."""

    answer: Answer
    until: datetime


class Answers:
    """Finds and keeps answers. A bucket that does not answer means that there is none."""

    def __init__(self, bucket: Bucket[KeptAnswer], clock: Clock) -> None:
        self._bucket = bucket
        self._clock = clock

    async def find(self, tenant: TenantId, fingerprint: str) -> Answer | None:
        """Return the answer that an identical request got, marked, and free of charge."""
        try:
            entry = await self._bucket.get(f"{tenant}.{fingerprint}")
        except (TransientError, ProblemError) as error:
            log.warning("answers.unreadable", error=type(error).__name__)
            return None
        if entry is None or entry.value.until <= self._clock():
            return None
        return msgspec.structs.replace(
            entry.value.answer, cached=True, usage=Usage(), side_usage={}, raw_usage={}
        )

    async def keep(self, tenant: TenantId, fingerprint: str, answer: Answer, wish: Cache) -> None:
        """Keep an answer. Failing to is no failure of the answer."""
        key = f"{tenant}.{fingerprint}"
        kept = KeptAnswer(answer=answer, until=self._clock() + timedelta(seconds=wish.ttl_seconds))
        try:
            entry = await self._bucket.get(key)
            await self._bucket.put(key, kept, expected=entry.revision if entry else 0)
        except (FencedError, TransientError, ProblemError) as error:
            log.warning("answers.not_kept", error=type(error).__name__)
