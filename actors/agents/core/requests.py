"""What tells a repeat of a request from another one. Pure."""

import hashlib

import msgspec

from schemas.base import Request


def digest_of(wanted: Request) -> str:
    """Return what tells a repeat of a request from another request under the same id."""
    canonical = msgspec.json.encode(wanted, order="deterministic")
    return hashlib.sha256(canonical).hexdigest()[:32]
