"""What makes two requests the same: the name under which an answer is kept for the next."""

import hashlib

import msgspec

from actors.streaming.core.resilience.routes import Route
from schemas.llm import GenerateRequest

_VERSION = b"1"


def fingerprint(request: GenerateRequest, route: Route) -> str:
    """Return the SHA-256, in hexadecimal, of all that an answer depends on.

    Which key pays for it is not part of it. Tenants never share answers, so the tenant belongs in
    the place where the answer is kept.
    """
    bare = route.request(request, None)
    provider = msgspec.to_builtins(bare.provider)
    provider.pop("secret", None)
    content = msgspec.structs.asdict(bare) | {"provider": provider}
    canonical = msgspec.json.encode(content, order="deterministic")
    return hashlib.sha256(_VERSION + canonical).hexdigest()


def is_cacheable(finish_reason: str) -> bool:
    """Say whether an answer that ended so may be given again: only one that is whole."""
    return finish_reason in {"stop", "tool_calls"}
