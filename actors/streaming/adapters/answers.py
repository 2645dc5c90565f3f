"""Answers kept for identical requests: opt-in, by tenant, for as long as the policy says."""

from datetime import datetime, timedelta

import msgspec
import structlog

from bus.errors import FencedError, ProblemError, TransientError
from bus.kv import Bucket, Store
from bus.ports import Clock
from schemas.ids import TenantId
from schemas.llm import Answer
from schemas.policy import Cache
from schemas.usage import Usage

log = structlog.get_logger()

_LONGEST_SECONDS = 604_800.0
"""What a policy may ask for at most."""


class KeptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, and until when it may be given again."""

    answer: Answer
    until: datetime


ANSWERS = Store(
    bucket="answers",
    kind=KeptAnswer,
    max_bytes=256 * 1024 * 1024,
    max_age=_LONGEST_SECONDS,
    forgets=True,
)


class KeptAnswers:
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
