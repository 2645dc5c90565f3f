"""The settings of a streaming process."""

from typing import Annotated, ClassVar

import msgspec

from bus.config import Config
from bus.config.reading import Variable
from schemas.provider_specs import SPECS, ProviderUrls, usual_urls
from schemas.providers import Region
from schemas.settings import Count, Seconds, env


class StreamingConfig(Config):
    """One process that calls providers."""

    AT_USE: ClassVar[tuple[Variable, ...]] = tuple(
        Variable(
            secret.variable,
            f"the secret `{secret.name}`{secret.doc}; read where and when a request is sent",
        )
        for spec in SPECS
        for secret in spec.secrets
    )

    max_concurrent: Annotated[
        Count,
        env(
            "MAX_CONCURRENT_EXECUTIONS",
            "answers one streaming process generates at a time; a tenth more stand ready for "
            "tenants that have none under way there",
        ),
    ] = 50
    safety_file: Annotated[
        str | None,
        env("CALLBOARD_SAFETY_FILE", "file of safety rules that hold for every call of the fleet"),
    ] = None
    urls: ProviderUrls = msgspec.field(default_factory=usual_urls)
    aws_region: Annotated[
        Region | None,
        env("AWS_REGION", "region of `bedrock` agents that name none"),
    ] = None
    connect_timeout: Annotated[
        Seconds, env("CONNECT_TIMEOUT", "seconds to connect to a provider: name, TCP and TLS")
    ] = 30.0
    first_byte_timeout: Annotated[
        Seconds,
        env(
            "CALLBOARD_FIRST_BYTE_TIMEOUT",
            "seconds from the request to the status line: reasoning models think before it",
        ),
    ] = 120.0
    cold_start_timeout: Annotated[
        Seconds,
        env(
            "CALLBOARD_COLD_START_TIMEOUT",
            "the same for `ollama`, which loads a model while the request waits",
        ),
    ] = 300.0
    idle_timeout: Annotated[
        Seconds,
        env(
            "CALLBOARD_IDLE_TIMEOUT",
            "seconds between two reads of a stream; comments of the server count as life",
        ),
    ] = 60.0
    progress_timeout: Annotated[
        Seconds,
        env(
            "CALLBOARD_PROGRESS_TIMEOUT",
            "seconds between two events of a stream: pings and comments are life, but no progress",
        ),
    ] = 300.0
    trailing_timeout: Annotated[
        Seconds,
        env(
            "CALLBOARD_TRAILING_TIMEOUT",
            "seconds after the finish reason for the usage and the end of the stream; then the "
            "answer stands",
        ),
    ] = 5.0
    keep_alive: Annotated[
        Seconds,
        env(
            "CALLBOARD_KEEP_ALIVE",
            "seconds for which an idle connection to a provider is kept for the next call",
        ),
    ] = 30.0
    limit_patience: Annotated[
        Seconds,
        env(
            "CALLBOARD_LIMIT_PATIENCE",
            "seconds a call may wait for its key's rate limit before the attempt goes elsewhere",
        ),
    ] = 5.0
