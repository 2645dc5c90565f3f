"""The settings of a streaming process."""

import msgspec

from bus.config import Config
from schemas.provider_specs import usual_urls


class StreamingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One process that calls providers. All times are in seconds."""

    max_concurrent: int = 50
    """How many answers the process generates at once; the rest waits in the queue."""

    urls: dict[str, str] = msgspec.field(default_factory=usual_urls)
    """Where definitions without a base_url go, by provider; one that is not here needs its own."""

    aws_region: str | None = None
    """Where ``bedrock`` definitions without a region go."""

    connect_timeout: float = 10.0
    """For name, TCP and TLS together."""

    first_byte_timeout: float = 120.0
    """From the request to the status line: reasoning models and cold local ones think before it."""

    cold_start_timeout: float = 300.0
    """The same for Ollama, which loads a model while the request waits."""

    idle_timeout: float = 60.0
    """Between two reads of a stream; comments of the server count as life."""

    progress_timeout: float = 300.0
    """Between two events of a stream: pings and comments are life, but no progress."""

    trailing_timeout: float = 5.0
    """After the finish reason, for the usage and the end of the stream; then the answer stands."""

    keep_alive: float = 30.0
    """How long an idle connection to a provider is kept for the next call."""

    limit_patience: float = 5.0
    """How long a call may wait for its key's rate limit before the attempt goes elsewhere."""


def settings(config: Config) -> StreamingConfig:
    """Return this actor's part of the settings."""
    return StreamingConfig(
        max_concurrent=config.max_concurrent_executions,
        connect_timeout=config.connect_timeout,
        urls=usual_urls() | config.provider_urls,
        aws_region=config.aws_region,
    )
