"""The settings of identity."""

from typing import Annotated

import msgspec

from bus.config import Config
from schemas.settings import env


class IdentityConfig(Config):
    """One process that keeps tenants, members and keys."""

    issuer_file: Annotated[
        str | None,
        env(
            "CALLBOARD_ISSUER_FILE",
            "file with the seed that `callboard nats issuer` has written: clients may then connect "
            "to nats-server with an API key as token; unset, users are those of its configuration",
        ),
    ] = None
    connection_seconds: Annotated[
        Annotated[int, msgspec.Meta(ge=60, le=86_400)],
        env(
            "CALLBOARD_CONNECTION_SECONDS",
            "how long a connection that was opened with an API key lasts; clients open another one "
            "by themselves, and what has become of the key is looked at anew",
        ),
    ] = 3600
