"""What makes two requests the same: the name under which an answer is kept for the next."""

import hashlib

import msgspec

from actors.streaming.core.resilience.routes import Route
from schemas.llm import GenerateRequest
from schemas.safety import Safety

_VERSION = b"1"


def fingerprint(request: GenerateRequest, route: Route, safety: Safety | None = None) -> str:
    """Return the SHA-256, in hexadecimal, of all that an answer depends on.

    What safety rules have let through is another answer under other rules. Which key pays is no
    part of it. Tenants never share answers, so the tenant belongs in the place where one is kept.
    """
    bare = route.request(request, None)
    provider = msgspec.to_builtins(bare.provider)
    provider.pop("secret", None)
    content = msgspec.structs.asdict(bare) | {"provider": provider, "safety": safety}
    canonical = msgspec.json.encode(content, order="deterministic")
    return hashlib.sha256(_VERSION + canonical).hexdigest()


def is_cacheable(finish_reason: str) -> bool:
    """Say whether an answer that ended so may be given again: only one that is whole."""
    return finish_reason in {"stop", "tool_calls"}
