"""Fresh ids: UUID version 7 (RFC 9562), so that ids sort by the time they were made."""

import os
import time
import uuid

_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62
_RANDOM = (0xFFF << 64) | ((1 << 62) - 1)


def new_id() -> str:
    """Return a new UUIDv7 in its usual text form."""
    milliseconds = time.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10)) & _RANDOM
    return str(uuid.UUID(int=(milliseconds << 80) | _VERSION | chance | _VARIANT))
